// Package marque is the Go SDK of Marque, the identity provider for software
// that acts on its own.
//
// A [Client] signs in as a service account: it calls Marque's management API
// (its fields, such as client.ServiceAccounts), and it calls other APIs with
// tokens of Marque (HTTPClient, Transport, TokenSource). It gets its
// tokens when they are needed, shares them between goroutines and renews them
// before they end.
//
// A [Verifier] protects an API: it checks a token where it arrives, without a
// call to Marque per request, and is middleware for net/http.
//
// The package needs the standard library only. Everything in it may be used by
// many goroutines at once. Secrets are never part of an error, a log record or
// the text of a value.
package marque

// Version is the version of this SDK. It is sent in the User-Agent.
const Version = "0.1.0"

const userAgent = "marque-go/" + Version
