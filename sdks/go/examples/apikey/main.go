// Command apikey is an agent that signs in by an API key, which stands in a file,
// and calls an API. It needs no client id; MARQUE_ISSUER says where the key is from.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	marque "github.com/marque-id/marque/sdks/go"
)

func main() {
	url, resource, file := os.Args[1], os.Args[2], os.Args[3]

	client, err := marque.New(marque.Config{Credential: marque.APIKeyFileCredential(file)})
	if err != nil {
		log.Fatal(err)
	}
	response, err := client.HTTPClient(resource).Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.StatusCode, string(body))
}
