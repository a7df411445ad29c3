// One GET by net/http to the URL in the arguments; its answer to stdout.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	url := os.Args[1]
	answer, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		log.Fatal(err)
	}
}
