package faults

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/cluster"
	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/server"
)

// Three nodes behind a balancer: what is made through one is used through any at
// once; what is stopped through one is stopped on all within a second; and a node
// that is killed is not missed.
func TestNodesBehindABalancer(t *testing.T) {
	shortCut(t)
	const nodes = 3
	rounds := inFull(30, 3)
	c, err := cluster.Start(t.Context(), cluster.Options{
		Binary: binary(t), Dir: t.TempDir(), Database: postgres.Database(t), Nodes: nodes, Env: server.Unlimited(),
	})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	ctx, front := t.Context(), c.Balanced()
	admin, err := front.Token(ctx, front.AdminID, front.AdminSecret, "")
	must(t, err)

	var spread []time.Duration
	for round := range rounds {
		// Each call is a new connection, so that the balancer deals them out.
		front.HTTP.CloseIdleConnections()
		id, secret := newAgent(ctx, t, front, admin, fmt.Sprintf("agent-%d", round))
		var tokens []string
		for i, node := range c.Nodes { // create-then-use, through any node
			token, err := node.Token(ctx, id, secret, "urn:marque:management")
			if err != nil {
				t.Fatalf("round %d: node %d does not know what was just made: %v", round, i+1, err)
			}
			tokens = append(tokens, token)
		}
		stopped := c.Nodes[round%nodes]
		must(t, stopped.Call(ctx, admin, http.MethodPost, "/v1/service-accounts/"+id+"/disable", nil, nil))
		acknowledged := time.Now()
		for i, node := range c.Nodes {
			for {
				live, err := active(ctx, node, tokens[i])
				must(t, err)
				if !live {
					break
				}
				if time.Since(acknowledged) > 5*time.Second {
					t.Fatalf("round %d: node %d still takes a token of an account that was disabled", round, i+1)
				}
			}
			if _, err := node.Token(ctx, id, secret, "urn:marque:management"); err == nil {
				t.Fatalf("round %d: node %d issues a token to an account that was disabled", round, i+1)
			}
		}
		spread = append(spread, time.Since(acknowledged))
	}
	slices.Sort(spread)
	slowest := spread[len(spread)-1]
	report(t, "disabled on one of 3 nodes", postgreSQL, slowest <= time.Second, "all nodes ≤ 1 s",
		"refused by all 3 after %v (median), %v (slowest of %d)", spread[len(spread)/2].Round(time.Millisecond), slowest.Round(time.Millisecond), len(spread))

	c.Nodes[nodes-1].Kill()
	failed := 0
	for range rounds * 10 {
		front.HTTP.CloseIdleConnections()
		if _, err := front.Token(ctx, front.AdminID, front.AdminSecret, ""); err != nil {
			failed++
		}
	}
	report(t, "one of 3 nodes killed", postgreSQL, failed == 0, "no new connection fails", "%d of %d requests over new connections failed", failed, rounds*10)
	if failed > 0 {
		t.Errorf("%d requests failed although two nodes live", failed)
	}
}

// newAgent registers an account that may audit:read at the management API.
func newAgent(ctx context.Context, t *testing.T, s *server.Server, admin, name string) (id, secret string) {
	t.Helper()
	const auditor = "role_00000000000000000000000002"
	var account struct {
		ID string `json:"id"`
	}
	must(t, s.Call(ctx, admin, http.MethodPost, "/v1/service-accounts", map[string]string{"name": name, "owner": "tests"}, &account))
	must(t, s.Call(ctx, admin, http.MethodPut, "/v1/service-accounts/"+account.ID+"/roles/"+auditor, map[string]any{}, nil))
	var issued struct {
		Secret string `json:"client_secret"`
	}
	must(t, s.Call(ctx, admin, http.MethodPost, "/v1/service-accounts/"+account.ID+"/client-secrets", map[string]any{}, &issued))
	return account.ID, issued.Secret
}
