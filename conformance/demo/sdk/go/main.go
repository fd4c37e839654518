// Command go tells the story of one agent by the Go SDK. The administrator comes
// from a profile: start `make run` in one terminal, and in another
//
//	XDG_CONFIG_HOME=.marque go run ./conformance/demo/sdk/go
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	marque "github.com/marque-id/marque/sdks/go"
)

const audience = "https://orders.example.com"

func main() {
	ctx := context.Background()

	operator := must(marque.New(marque.Config{}))
	say("operator", "is %s", must(operator.Whoami.Get(ctx)).ServiceAccount.Name)

	api := must(operator.ResourceServers.Create(ctx, marque.ResourceServerCreate{
		Identifier: audience, Name: "orders",
		Permissions: []marque.DeclaredPermission{{Name: "orders:read"}, {Name: "orders:write"}},
	}))
	defer operator.ResourceServers.Delete(ctx, api.ID, nil)
	say("operator", "registers the API %s", api.Identifier)

	role := must(operator.Roles.Create(ctx, marque.RoleCreate{
		Name: "orders-reader", Permissions: []marque.RolePermission{{ResourceServer: api.ID, Permission: "orders:read"}},
	}))
	defer operator.Roles.Delete(ctx, role.ID, nil)
	account := must(operator.ServiceAccounts.Create(ctx, marque.ServiceAccountCreate{Name: "orders-agent", Owner: "alice@example.com"}))
	defer operator.ServiceAccounts.Delete(ctx, account.ID)
	must(operator.RoleAssignments.Put(ctx, account.ID, role.ID, marque.RoleAssignmentPut{}))
	issued := must(operator.ClientSecrets.Create(ctx, account.ID, marque.ClientSecretCreate{}))
	say("operator", "registers %s, whose role %s gives it orders:read", account.Name, role.Name)

	url := serve()
	agent := signIn(account.ID, issued.ClientSecret)
	call(agent, http.MethodGet, url)
	call(agent, http.MethodPost, url)

	issued = must(operator.ClientSecrets.Rotate(ctx, account.ID, marque.ClientSecretRotation{Overlap: new(0)}))
	say("operator", "rotates the secret of the agent, and the agent signs in with the new one")
	agent = signIn(account.ID, issued.ClientSecret)
	call(agent, http.MethodGet, url)

	token := must(agent.TokenSource(audience).Token(ctx)).AccessToken
	state := must(operator.Tokens.Introspect(ctx, marque.TokensIntrospectRequest{Token: token}))
	say("operator", "asks about the token of the agent: active %t", state.Active)
	if err := operator.Tokens.Revoke(ctx, marque.TokensRevokeRequest{Token: token}); err != nil {
		panic(err)
	}
	state = must(operator.Tokens.Introspect(ctx, marque.TokensIntrospectRequest{Token: token}))
	say("operator", "revokes it: active %t", state.Active)

	account = must(operator.ServiceAccounts.Disable(ctx, account.ID))
	say("operator", "stops the agent: %s", account.Status)
	_, err := signIn(account.ID, issued.ClientSecret).TokenSource(audience).Token(ctx)
	if e, ok := errors.AsType[*marque.Error](err); ok {
		say("agent", "gets no token: %s error, %d %s", e.Kind, e.Status, e.Code)
	}
}

// signIn makes the client of the agent. It asks for a token when it needs one.
func signIn(id string, secret marque.Secret) *marque.Client {
	return must(marque.New(marque.Config{Credential: marque.SecretCredential(id, secret)}))
}

// call sends a request of the agent, which carries a token for the API.
func call(agent *marque.Client, method, url string) {
	request := must(http.NewRequest(method, url, nil))
	response := must(agent.HTTPClient(audience).Do(request))
	defer response.Body.Close()
	body := must(io.ReadAll(response.Body))
	if response.StatusCode == http.StatusOK {
		say("agent", "%s /orders: 200 %s", method, body)
		return
	}
	var problem struct{ Code marque.ErrorCode }
	if err := json.Unmarshal(body, &problem); err != nil {
		panic(err)
	}
	say("agent", "%s /orders: %d %s", method, response.StatusCode, problem.Code)
}

// serve starts the API. It checks tokens by itself, with the published keys.
func serve() string {
	verifier := must(marque.NewVerifier(marque.VerifierConfig{}))
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := marque.PrincipalFrom(r.Context())
		fmt.Fprintf(w, "orders for %s", caller.Subject)
	})
	mux := http.NewServeMux()
	mux.Handle("GET /orders", marque.RequireScopes("orders:read")(orders))
	mux.Handle("POST /orders", marque.RequireScopes("orders:write")(orders))
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go http.Serve(listener, verifier.Protect(audience)(mux))
	return "http://" + listener.Addr().String() + "/orders"
}

func say(who, format string, args ...any) {
	fmt.Printf("%-9s %s\n", who, fmt.Sprintf(format, args...))
}

// must is for a short story: a program that stays handles its errors.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
