package faults

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

const audience = "https://invoices.example.com"

// fleet is a number of agents that ask for tokens and of operators that change
// things, and remembers what the server acknowledged.
type fleet struct {
	admin   string // a token, valid for the length of a test
	agents  []agent
	current atomic.Pointer[server.Server]

	mu      sync.Mutex
	tokens  []string // acknowledged jti
	created []string // acknowledged service account ids
	errors  int      // calls that got no acknowledgement
}

type agent struct{ id, secret string }

// muster registers an API, a role and n agents that hold it.
func muster(ctx context.Context, t *testing.T, s *server.Server, n int) *fleet {
	t.Helper()
	f := &fleet{}
	f.current.Store(s)
	// A busy machine may need more than a second for the very first token: the
	// answer is 503 then, and a client comes again.
	eventually(t, 20*time.Second, "the first token", func() (err error) {
		f.admin, err = s.Token(ctx, s.AdminID, s.AdminSecret, "")
		return err
	})
	var api, role, secret struct {
		ID           string `json:"id"`
		ClientSecret string `json:"client_secret"`
	}
	must(t, s.Call(ctx, f.admin, http.MethodPost, "/v1/resource-servers", map[string]any{
		"identifier": audience, "name": "invoices",
		"permissions": []map[string]string{{"name": "invoices:read", "description": "Read invoices"}},
	}, &api))
	must(t, s.Call(ctx, f.admin, http.MethodPost, "/v1/roles", map[string]any{
		"name": "bookkeeper", "permissions": []map[string]string{{"resource_server": api.ID, "permission": "invoices:read"}},
	}, &role))
	for i := range n {
		var account struct {
			ID string `json:"id"`
		}
		must(t, s.Call(ctx, f.admin, http.MethodPost, "/v1/service-accounts", map[string]any{
			"name": fmt.Sprintf("agent-%d", i), "owner": "faults", "default_resource_server": api.ID,
		}, &account))
		must(t, s.Call(ctx, f.admin, http.MethodPut, "/v1/service-accounts/"+account.ID+"/roles/"+role.ID, map[string]any{}, nil))
		must(t, s.Call(ctx, f.admin, http.MethodPost, "/v1/service-accounts/"+account.ID+"/client-secrets", map[string]any{}, &secret))
		f.agents = append(f.agents, agent{account.ID, secret.ClientSecret})
	}
	return f
}

// work keeps every agent busy until ctx ends: tokens, and with every fourth
// step a new account. A call that fails is counted and not repeated: only what
// was acknowledged is remembered.
func (f *fleet) work(ctx context.Context) *sync.WaitGroup {
	var wait sync.WaitGroup
	for n, a := range f.agents {
		wait.Go(func() {
			for step := 0; ctx.Err() == nil; step++ {
				var err error
				if step%4 == 3 {
					err = f.create(ctx, fmt.Sprintf("born-%d-%d", n, step))
				} else {
					err = f.token(ctx, a)
				}
				if err != nil {
					f.mu.Lock()
					f.errors++
					f.mu.Unlock()
					// The server is down: ask again soon, without burning the processor.
					select {
					case <-ctx.Done():
					case <-time.After(2 * time.Millisecond):
					}
				}
			}
		})
	}
	return &wait
}

func (f *fleet) token(ctx context.Context, a agent) error {
	token, err := f.current.Load().Token(ctx, a.id, a.secret, "")
	if err != nil {
		return err
	}
	jti, err := tokenID(token)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens = append(f.tokens, jti)
	return nil
}

func (f *fleet) create(ctx context.Context, name string) error {
	var account struct {
		ID string `json:"id"`
	}
	err := f.current.Load().Call(ctx, f.admin, http.MethodPost, "/v1/service-accounts", map[string]any{"name": name, "owner": "faults"}, &account)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created = append(f.created, account.ID)
	return nil
}

// event is what the tests read of an audit event.
type event struct {
	Chain   string `json:"chain"`
	Seq     int64  `json:"seq"`
	Type    string `json:"type"`
	Account string `json:"service_account"`
	Subject string `json:"subject"`
	TokenID string `json:"token_id"`
}

// list reads every page of a list.
func list[T any](ctx context.Context, t *testing.T, s *server.Server, token, path string) []T {
	t.Helper()
	var all []T
	for page := ""; ; {
		query := "?page_size=200"
		if page != "" {
			query += "&page_token=" + url.QueryEscape(page)
		}
		var answer struct {
			Items []T    `json:"items"`
			Next  string `json:"next_page_token"`
		}
		must(t, s.Call(ctx, token, http.MethodGet, path+query, nil, &answer))
		all = append(all, answer.Items...)
		if page = answer.Next; page == "" {
			return all
		}
	}
}

func tokenID(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("a token has three parts, this one has %d", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	var claims struct {
		ID string `json:"jti"`
	}
	return claims.ID, json.Unmarshal(payload, &claims)
}
