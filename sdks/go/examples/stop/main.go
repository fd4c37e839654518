// Command stop gets a token, stops it, and tells how long an API still takes it
// that follows what is revoked. The account in its environment needs the
// permissions tokens:revoke and revocations:read.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	marque "github.com/marque-id/marque/sdks/go"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := marque.New(marque.Config{})
	if err != nil {
		log.Fatal(err)
	}
	followed := client.FollowRevocations(marque.FollowConfig{})
	defer followed.Close()
	verifier, err := marque.NewVerifier(marque.VerifierConfig{Revocations: followed})
	if err != nil {
		log.Fatal(err)
	}
	if err := followed.Ready(ctx); err != nil {
		log.Fatal(err)
	}

	token, err := client.TokenSource(marque.ManagementAudience, "audit:read").Token(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := verifier.Verify(ctx, token.AccessToken.Reveal(), marque.ManagementAudience); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Revocations.Create(ctx, marque.RevocationCreate{Token: &token.AccessToken}); err != nil {
		log.Fatal(err)
	}
	stopped := time.Now()
	for err == nil {
		time.Sleep(time.Millisecond)
		_, err = verifier.Verify(ctx, token.AccessToken.Reveal(), marque.ManagementAudience)
	}
	fmt.Printf("after %v: %v\n", time.Since(stopped).Round(time.Millisecond), err)
}
