// Command rotate gives a service account a new client secret and puts it where
// the agent reads it. The agent's SDK reads the file anew when it signs in, so
// nothing is restarted; the old secret works for another hour.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	marque "github.com/marque-id/marque/sdks/go"
)

func main() {
	ctx := context.Background()
	account, file := os.Args[1], os.Args[2]

	client, err := marque.New(marque.Config{})
	if err != nil {
		log.Fatal(err)
	}
	issued, err := client.ClientSecrets.Rotate(ctx, account, marque.ClientSecretRotation{Overlap: new(3600)})
	if e, ok := errors.AsType[*marque.Error](err); ok {
		log.Fatalf("%s: status %d, code %s, request %s, may pass: %v", e.Kind, e.Status, e.Code, e.RequestID, e.Retryable)
	}
	// Written beside and renamed: the agent sees the old secret or the new one.
	if err := os.WriteFile(file+".new", []byte(issued.ClientSecret.Reveal()), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		log.Fatal(err)
	}
	fmt.Println("secret", issued.ID, "ends in", issued.Hint)

	for secret, err := range client.ClientSecrets.List(ctx, account, nil) {
		if err != nil {
			log.Fatal(err)
		}
		if secret.ID != issued.ID {
			fmt.Println("secret", secret.ID, "works until", secret.ExpiresAt)
		}
	}
}
