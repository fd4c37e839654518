// Command protect is an API that lets in who has a token of Marque. Whose tokens
// stands in its environment: MARQUE_ISSUER.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"

	marque "github.com/marque-id/marque/sdks/go"
)

// audience is the identifier of this API's resource server at Marque.
const audience = "https://invoices.example.com"

func main() {
	verifier, err := marque.NewVerifier(marque.VerifierConfig{})
	if err != nil {
		log.Fatal(err)
	}
	protect := verifier.Protect(audience)
	mayRead, mayWrite := marque.RequireScopes("invoices:read"), marque.RequireScopes("invoices:write")

	mux := http.NewServeMux()
	mux.Handle("GET /invoices", mayRead(http.HandlerFunc(list)))
	mux.Handle("POST /invoices", mayWrite(http.HandlerFunc(create)))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	log.Fatal(http.Serve(listener, protect(mux)))
}

func list(w http.ResponseWriter, r *http.Request) {
	caller, _ := marque.PrincipalFrom(r.Context())
	fmt.Fprintf(w, "the invoices of %s", caller.Subject)
}

func create(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }
