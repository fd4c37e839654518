// Command behave uses generated code of the Go SDK against scripted replies and
// prints what it saw and what went over the wire.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	marque "github.com/marque-id/marque/sdks/go"
)

type stub struct {
	replies map[string]json.RawMessage
	wire    []string
}

func (s *stub) RoundTrip(r *http.Request) (*http.Response, error) {
	key := r.Method + " " + r.URL.Path
	if page := r.URL.Query().Get("page_token"); page != "" {
		key += " " + page
	}
	reply, ok := s.replies[key]
	if !ok {
		return nil, fmt.Errorf("no reply to %s", key)
	}
	if r.URL.Path != "/oauth2/token" {
		s.wire = append(s.wire, line(r))
	}
	status := http.StatusOK
	if string(reply) == "null" {
		status, reply = http.StatusNoContent, nil
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(reply)), Request: r, ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

func line(r *http.Request) string {
	path := r.URL.Path
	if query := r.URL.Query().Encode(); query != "" {
		path += "?" + query
	}
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	parts := []string{r.Method, path, scheme}
	if match := r.Header.Get("If-Match"); match != "" {
		parts = append(parts, match)
	}
	if r.Body != nil && r.Body != http.NoBody {
		body := must(io.ReadAll(r.Body))
		var object map[string]any
		if json.Unmarshal(body, &object) == nil {
			body = must(json.Marshal(object))
		}
		parts = append(parts, r.Header.Get("Content-Type"), string(body))
	}
	return strings.Join(parts, " ")
}

func main() {
	http := &http.Client{Transport: &stub{}}
	transport := http.Transport.(*stub)
	check(json.Unmarshal(must(os.ReadFile(os.Args[1])), &transport.replies))
	client := must(marque.New(marque.Config{
		Issuer: "https://marque.test", Credential: marque.SecretCredential("sa_0", "mqs_0"), HTTPClient: http,
	}))
	ctx := context.Background()
	seen := map[string]any{}

	var ids []string
	active := &marque.ServiceAccountsListParams{Status: marque.ServiceAccountStatusActive, Label: []string{"a=b", "c=d"}}
	for account, err := range client.ServiceAccounts.List(ctx, active) {
		check(err)
		ids = append(ids, account.ID)
	}
	seen["accounts"] = ids
	page := must(client.ServiceAccounts.ListPage(ctx, &marque.ServiceAccountsListParams{PageSize: 1}))
	seen["page_token"] = page.NextPageToken

	account := must(client.ServiceAccounts.Update(ctx, "sa_1", marque.ServiceAccountUpdate{
		Owner:       new("o"),
		DisplayName: marque.Null[string](),
		Labels:      marque.Value(map[string]*string{"a": nil, "b": new("c")}),
	}, marque.IfMatch(`"v1"`)))
	seen["kind"], seen["expires_at"], seen["nickname"] = account.Kind, account.ExpiresAt, account.Nickname

	issued := must(client.ClientSecrets.Create(ctx, "sa_1", marque.ClientSecretCreate{
		ExpiresAt: new(time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)),
	}))
	shown := fmt.Sprintf("%v %+v %#v %s", issued, *issued, *issued, must(json.Marshal(issued)))
	seen["hidden"] = !strings.Contains(shown, "mqs_text")
	seen["revealed"] = issued.ClientSecret.Reveal()

	check(client.RoleAssignments.Delete(ctx, "sa_1", "role_1"))
	seen["active"] = must(client.Tokens.Introspect(ctx, marque.TokensIntrospectRequest{Token: "tok"})).Active
	seen["greeting"] = must(client.ServiceAccounts.Greet(ctx, "sa_1", marque.Greeting{Words: "good day"})).Words

	check(json.NewEncoder(os.Stdout).Encode(map[string]any{"seen": seen, "wire": transport.wire}))
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
