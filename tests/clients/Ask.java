import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;

/** One GET by HttpClient, as it is without settings, to the URL in the arguments; its answer to stdout. */
class Ask {
    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        HttpResponse<String> answer =
            HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.ofString());
        System.out.print(answer.body());
    }
}
