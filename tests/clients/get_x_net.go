// Sends a GET with prior knowledge to the URL in the arguments with golang.org/x/net/http2, and prints the content.
package main

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"golang.org/x/net/http2"
)

func dial(network, address string, _ *tls.Config) (net.Conn, error) {
	return net.Dial(network, address)
}

func main() {
	url := os.Args[1]
	client := http.Client{Transport: &http2.Transport{AllowHTTP: true, DialTLS: dial}}
	response, err := client.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		log.Fatal(err)
	}
}
