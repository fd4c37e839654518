// Command agent is an agent that calls an API with tokens of Marque. Who it is
// stands in its environment: MARQUE_ISSUER, MARQUE_CLIENT_ID and
// MARQUE_CLIENT_SECRET_FILE.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	marque "github.com/marque-id/marque/sdks/go"
)

func main() {
	url, resource := os.Args[1], os.Args[2]

	client, err := marque.New(marque.Config{})
	if err != nil {
		log.Fatal(err)
	}
	api := client.HTTPClient(resource) // every request of it carries a token

	response, err := api.Get(url)
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
