package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to reach into the file from outside

	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/server"
)

// reachIn runs statements in the database past the server.
func reachIn(t *testing.T, o server.Options, statements ...string) {
	t.Helper()
	if o.Database != "" && !strings.HasPrefix(o.Database, "sqlite:") {
		must(t, postgres.Shared(t).Exec(t.Context(), o.Database, strings.Join(statements, ";")))
		return
	}
	for _, statement := range statements {
		_, err := sqliteFile(t, o).ExecContext(t.Context(), statement)
		must(t, err)
	}
}

func sqliteFile(t *testing.T, o server.Options) *sql.DB {
	t.Helper()
	path := strings.TrimPrefix(o.Database, "sqlite:")
	if path == "" {
		path = filepath.Join(o.Dir, "marque.db")
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestAuditThatCannotBeWritten puts a trigger on the table of events that
// refuses them. Then nothing is issued and nothing changed, everything that
// only reads is as ever, and when the trigger is gone it all goes on.
func TestAuditThatCannotBeWritten(t *testing.T) {
	shortCut(t)
	rounds := inFull(50, 3)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		s := start(t, o)
		ctx := t.Context()
		f := muster(ctx, t, s, writers)
		token, err := s.Token(ctx, f.agents[0].id, f.agents[0].secret, "")
		must(t, err)
		before := state(ctx, t, s, f)

		sabotage, mend := []string{"CREATE TRIGGER no_audit BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'no audit'); END"}, "DROP TRIGGER no_audit"
		if database == postgreSQL {
			sabotage = []string{
				"CREATE FUNCTION no_audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no audit''; END'",
				"CREATE TRIGGER no_audit BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION no_audit()",
			}
			mend = "DROP TRIGGER no_audit ON audit_events"
		}
		reachIn(t, o, sabotage...)

		tried, refused := 0, 0
		a := "/v1/service-accounts/" + f.agents[1].id
		for n := range rounds {
			for what, try := range map[string]func() error{
				"token":   func() error { return f.token(ctx, f.agents[n%writers]) },
				"create":  func() error { return f.create(ctx, fmt.Sprintf("unrecorded-%d", n)) },
				"update":  func() error { return s.Call(ctx, f.admin, http.MethodPatch, a, map[string]any{"owner": "nobody"}, nil) },
				"disable": func() error { return s.Call(ctx, f.admin, http.MethodPost, a+"/disable", nil, nil) },
				"delete":  func() error { return s.Call(ctx, f.admin, http.MethodDelete, a, nil, nil) },
				"secret": func() error {
					return s.Call(ctx, f.admin, http.MethodPost, a+"/client-secrets", map[string]any{}, nil)
				},
				"revoke all": func() error { return s.Call(ctx, f.admin, http.MethodPost, a+"/revocations", nil, nil) },
				"revoke": func() error {
					return answered(s.Ask(ctx, s.HTTP, "/oauth2/revoke", url.Values{"token": {token}, "client_id": {f.agents[0].id}, "client_secret": {f.agents[0].secret}}))
				},
			} {
				tried++
				switch err := try(); {
				case unavailable(err):
					refused++
				default:
					t.Errorf("%s without audit: %v", what, err)
				}
			}
			must(t, s.Call(ctx, f.admin, http.MethodGet, a, nil, nil))
			must(t, answered(s.Ask(ctx, s.HTTP, "/oauth2/introspect", url.Values{"token": {token}, "client_id": {s.AdminID}, "client_secret": {s.AdminSecret}})))
		}
		after := state(ctx, t, s, f)
		if before != after {
			t.Errorf("something was changed: %s\nit was: %s", after, before)
		}
		reachIn(t, o, mend)
		back := eventually(t, 5*time.Second, "it serves again", func() error { return serves(ctx, s, f) })
		found := compare(ctx, t, s, f, 1)
		verify(t, s)
		report(t, "audit cannot be written", database, tried == refused && before == after && found.none(),
			"100 % refused with 503, nothing changed",
			"%d of %d refused, changed: %t; serving %s after; %v", refused, tried, before != after, ms(back), found)
	})
}

// state is all that the tried changes could have changed.
func state(ctx context.Context, t *testing.T, s *server.Server, f *fleet) string {
	t.Helper()
	var b strings.Builder
	for _, a := range f.agents {
		var account struct {
			Status    string `json:"status"`
			Owner     string `json:"owner"`
			Gen       int64  `json:"gen"`
			UpdatedAt string `json:"updated_at"`
		}
		must(t, s.Call(ctx, f.admin, http.MethodGet, "/v1/service-accounts/"+a.id, nil, &account))
		secrets := list[struct {
			ID string `json:"id"`
		}](ctx, t, s, f.admin, "/v1/service-accounts/"+a.id+"/client-secrets")
		fmt.Fprintln(&b, a.id, account, secrets)
	}
	events := list[event](ctx, t, s, f.admin, "/v1/audit-events")
	accounts := list[struct {
		ID string `json:"id"`
	}](ctx, t, s, f.admin, "/v1/service-accounts")
	fmt.Fprintln(&b, len(events), "events", len(accounts), "accounts")
	return b.String()
}

// answered turns an answer that is not 200 into an error.
func answered(status int, header http.Header, body []byte, err error) error {
	if err == nil && status != http.StatusOK {
		return &server.Refusal{Call: "a form", Status: status, Header: header, Body: string(body)}
	}
	return err
}

// unavailable reports whether the answer is 503 and says when to come back.
func unavailable(err error) bool {
	refusal := new(server.Refusal)
	return errors.As(err, &refusal) && refusal.Status == http.StatusServiceUnavailable && refusal.Header.Get("Retry-After") != ""
}
