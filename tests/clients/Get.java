import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;

/** Sends a GET to the URL in the arguments with HttpClient and its defaults, and prints the response's content. */
class Get {
    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        HttpResponse<String> response =
            HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.ofString());
        System.out.print(response.body());
    }
}
