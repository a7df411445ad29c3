// Sends a GET to the URL in the arguments with net/http, and prints the response's content.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	url := os.Args[1]
	response, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		log.Fatal(err)
	}
}
