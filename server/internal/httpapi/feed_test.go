package httpapi

import (
	"bufio"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/feed"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// sent is one event of a stream as it was sent.
type sent struct{ id, name, data string }

// readEvent reads the next event; comments and retry are passed over.
func readEvent(r *bufio.Reader) (e sent, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return e, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && e.name != "":
			return e, nil
		case field == "id":
			e.id = value
		case field == "event":
			e.name = value
		case field == "data":
			e.data = value
		}
	}
}

// documentedEvents holds each event of a stream against the member of the schema
// that has its name.
func documentedEvents(t testing.TB, operation string, schema *openapi3.Schema, body string) {
	t.Helper()
	for r := bufio.NewReader(strings.NewReader(body)); ; {
		e, err := readEvent(r)
		if err != nil {
			return
		}
		documentedEvent(t, operation, schema, e)
	}
}

func documentedEvent(t testing.TB, operation string, schema *openapi3.Schema, e sent) {
	t.Helper()
	of := schema.Properties[e.name]
	if of == nil {
		t.Errorf("%s: the event %q is not documented", operation, e.name)
		return
	}
	var got any
	if err := json.Unmarshal([]byte(e.data), &got); err != nil {
		t.Errorf("%s: %s: %v", operation, e.data, err)
		return
	}
	if err := of.Value.VisitJSON(got, openapi3.VisitAsResponse(), openapi3.EnableFormatValidation()); err != nil {
		t.Errorf("%s: %s: %v", operation, e.name, err)
	}
}

// street is a world that listens.
type street struct {
	*world
	address string
	roots   *x509.CertPool
	app     *fiber.App
}

func newStreet(t testing.TB, more ...func(*Deps, *feed.Options)) *street {
	t.Helper()
	w := newWorldWith(t, testkit.SQLite(t), rates{limit.MaxPerMinute, limit.MaxPerMinute, limit.MaxPerMinute},
		append([]func(*Deps, *feed.Options){func(_ *Deps, o *feed.Options) { o.PerAccount = 10_000 }}, more...)...)
	s := &street{world: w, app: w.app}
	s.address, s.roots = listen(t, w.app)
	t.Cleanup(w.feed.Close) // first of all, as a server does: streams do not end by themselves
	return s
}

// stream is one follower.
type stream struct {
	t    testing.TB
	conn net.Conn
	resp *http.Response
	r    *bufio.Reader
	last string // id of the last event
}

// follow opens a stream and reads its hello.
func (s *street) follow(bearer, query, last string) *stream {
	s.t.Helper()
	f := s.dial(bearer, query, last)
	// It ends with its connection: nothing could come after it.
	if f.resp.StatusCode != http.StatusOK || f.resp.Header.Get("Content-Type") != "text/event-stream" || !f.resp.Close {
		text, _ := io.ReadAll(f.resp.Body)
		s.t.Fatalf("%d %s", f.resp.StatusCode, text)
	}
	if e := f.next(); e.name != "hello" {
		s.t.Fatalf("the first event is %+v", e)
	}
	return f
}

func (s *street) dial(bearer, query, last string) *stream {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: s.roots, NextProtos: []string{"http/1.1"}})
	must(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	if last != "" {
		last = "Last-Event-ID: " + last + "\r\n"
	}
	_, err = io.WriteString(conn, "GET /v1/revocations/feed"+query+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+bearer+"\r\n"+last+"\r\n")
	must(s.t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodGet})
	must(s.t, err)
	return &stream{t: s.t, conn: conn, resp: resp, r: bufio.NewReader(resp.Body)}
}

func (f *stream) next() sent {
	f.t.Helper()
	must(f.t, f.conn.SetReadDeadline(clock.System().Now().Add(30*time.Second)))
	e, err := readEvent(f.r)
	if err != nil {
		f.t.Fatalf("the stream ended: %v", err)
	}
	if e.id != "" {
		f.last = e.id
	}
	return e
}

// ends fails the test unless the stream ends, with nothing more but heartbeats.
func (f *stream) ends() {
	f.t.Helper()
	must(f.t, f.conn.SetReadDeadline(clock.System().Now().Add(30*time.Second)))
	for {
		e, err := readEvent(f.r)
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			f.t.Fatalf("the stream did not end but failed: %v", err)
		case e.name != "heartbeat":
			f.t.Fatalf("%+v", e)
		}
	}
}

// beat lets heartbeats come until fn says that it has seen enough.
func (s *street) beat() {
	s.t.Helper()
	must(s.t, s.clock.BlockUntilContext(s.t.Context(), 1))
	s.clock.Advance(5 * time.Second)
}

func (s *street) revoke(body string) answer {
	s.t.Helper()
	return s.as(http.MethodPost, "/v1/revocations", body).is(s.t, http.StatusOK)
}

func TestFollowersHearOfEveryKindOfRevocation(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	_, role := s.invoices()
	agent := s.account("agent", role)
	tok := s.token(agent, "resource", "https://invoices.example.com")
	f := s.follow(s.adminToken, "", "")
	elsewhere := s.follow(s.adminToken, "?audience="+identity.ManagementIdentifier, "")

	s.revoke(`{"token":"` + tok + `"}`)
	s.revoke(`{"service_account":"` + agent.id + `"}`)
	secret := s.as(http.MethodGet, "/v1/service-accounts/"+agent.id+"/client-secrets", "").is(t, 200)
	id := secret.member("items").([]any)[0].(map[string]any)["id"].(string)
	s.revoke(`{"credential":"` + id + `"}`)
	want := []string{`"kind":"token"`, `"kind":"service_account","id":"` + agent.id + `","gen":2`, `"kind":"credential","id":"` + id + `"`}
	for _, w := range want {
		e := f.next()
		if e.name != "revoked" || !strings.Contains(e.data, w) {
			t.Errorf("got %+v, want %s", e, w)
		}
		documentedEvent(t, "revocations.feed", spec(t).Components.Schemas["RevocationFeed"].Value, e)
	}
	for _, w := range want[1:] { // the token was for another audience
		if e := elsewhere.next(); !strings.Contains(e.data, w) {
			t.Errorf("got %+v, want %s", e, w)
		}
	}
	s.as(http.MethodPost, "/v1/service-accounts/"+agent.id+"/disable", "").is(t, 200)
	if e := f.next(); !strings.Contains(e.data, `"gen":3`) {
		t.Errorf("disabled: %+v", e)
	}
	s.as(http.MethodDelete, "/v1/service-accounts/"+agent.id, "").is(t, 204)
	if e := f.next(); !strings.Contains(e.data, `"gen":4`) {
		t.Errorf("deleted: %+v", e)
	}
	s.beat()
	if e := f.next(); e.name != "heartbeat" || e.data != `{"position":"`+strconv.FormatInt(s.store.Snapshot(), 10)+`"}` {
		t.Errorf("%+v", e)
	}
}

func TestAFollowerThatComesBackMissesNothing(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	f := s.follow(s.adminToken, "", "")
	var all []string
	for i := range 5 {
		all = append(all, s.newTokenRevoked(1)...)
		if i < 2 {
			f.next()
		}
	}
	must(t, f.conn.Close())
	again := s.follow(s.adminToken, "", f.last)
	for _, id := range all[2:] {
		if e := again.next(); !strings.Contains(e.data, id) {
			t.Errorf("got %+v, want %s", e, id)
		}
	}
	for _, bad := range []string{"999999999999999999"} {
		f := s.follow(s.adminToken, "", bad)
		if e := f.next(); e.name != "reset" || e.id != "" {
			t.Errorf("%+v", e)
		}
		f.ends()
	}
	if f := s.dial(s.adminToken, "", "yesterday"); f.resp.StatusCode != 400 {
		t.Error(f.resp.Status)
	}
	if f := s.dial(s.adminToken, "?audience=https://nowhere.example", ""); f.resp.StatusCode != 404 {
		t.Error(f.resp.Status)
	}
}

// newTokenRevoked revokes tokens that nobody has, in one transaction.
func (s *street) newTokenRevoked(n int) (ids []string) {
	s.t.Helper()
	must(s.t, s.store.InTx(s.t.Context(), func(tx *store.Tx) error {
		for range n {
			id := identity.NewID(identity.PrefixToken, tx.Now)
			ids = append(ids, id)
			if _, err := tx.RevokeToken(s.t.Context(), id, "", "", tx.Now.Add(time.Hour)); err != nil {
				return err
			}
		}
		tx.Audit(audit.Event{Type: audit.TokenRevoked, Outcome: audit.Success, Actor: audit.ActorSystem})
		return nil
	}))
	return ids
}

// A thousand is what the issue asks for; -short has fewer.
func crowd() int {
	if testing.Short() {
		return 100
	}
	return 1000
}

func TestACrowdOfFollowersHearsAtOnceAndLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("crowd", func(t *testing.T) {
		s := newStreet(t)
		n := crowd()
		streams := make([]*stream, n)
		for i := range streams {
			streams[i] = s.follow(s.adminToken, "", "")
		}
		if got := s.feed.Stats().Followers; got != n {
			t.Fatalf("%d follow", got)
		}
		system := clock.System()
		took := make([]time.Duration, n)
		began := system.Now()
		var all sync.WaitGroup
		for i, f := range streams {
			all.Go(func() {
				e, err := readEvent(f.r)
				took[i] = system.Since(began)
				if err != nil || e.name != "revoked" {
					t.Errorf("follower %d: %+v %v", i, e, err)
				}
			})
		}
		s.newTokenRevoked(1)
		all.Wait()
		slowest := time.Duration(0)
		for _, d := range took {
			slowest = max(slowest, d)
		}
		t.Logf("%d followers: the last has heard after %s", n, slowest)
		if slowest > 10*time.Second {
			t.Errorf("the last follower has heard after %s", slowest)
		}
		for _, f := range streams[1:] {
			_ = f.conn.Close()
		}
		s.feed.Close()
		streams[0].ends()
		if f := s.dial(s.adminToken, "", ""); f.resp.StatusCode != 503 || f.resp.Header.Get("Retry-After") == "" {
			t.Error("a feed that is closed takes followers:", f.resp.Status)
		}
	})
	system := clock.System()
	for deadline := system.Now().Add(20 * time.Second); runtime.NumGoroutine() > before+5; {
		if system.Now().After(deadline) {
			t.Fatalf("%d goroutines, before there were %d", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

func TestAStreamEndsWithItsPermissionItsTokenAndItsAccount(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(s *street, c client){
		"the role is taken away": func(s *street, c client) {
			s.as(http.MethodDelete, "/v1/service-accounts/"+c.id+"/roles/"+identity.RoleValidatorID, "").is(s.t, 204)
		},
		"its tokens are revoked": func(s *street, c client) { s.revoke(`{"service_account":"` + c.id + `"}`) },
		"the account is disabled": func(s *street, c client) {
			s.as(http.MethodPost, "/v1/service-accounts/"+c.id+"/disable", "").is(s.t, 200)
		},
		"the account is deleted": func(s *street, c client) {
			s.as(http.MethodDelete, "/v1/service-accounts/"+c.id, "").is(s.t, 204)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			c := s.account("verifier", identity.RoleValidatorID)
			f := s.follow(s.token(c, "resource", identity.ManagementIdentifier), "?audience="+identity.ManagementIdentifier, "")
			s.beat()
			if e := f.next(); e.name != "heartbeat" {
				t.Fatalf("%+v", e)
			}
			stop(s, c)
			s.beat()
			for {
				e, err := readEvent(f.r)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || e.name != "revoked" { // it may still hear of itself
					t.Fatalf("%+v %v", e, err)
				}
			}
		})
	}
}

func TestAStreamEndsWhenItsTokenExpires(t *testing.T) {
	t.Parallel()
	s := newStreet(t, func(_ *Deps, o *feed.Options) { o.Heartbeat = 24 * time.Hour })
	f := s.follow(s.adminToken, "", "")
	must(t, s.clock.BlockUntilContext(t.Context(), 2))
	s.clock.Advance(15 * time.Minute)
	f.ends()
}

// fasthttp sets the deadline of a connection once: a stream that is healthy must
// outlive it, one that is not read must not.
func TestTheWriteTimeoutCutsWhoReadsNothingAndNobodyElse(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	s := newStreet(t, func(d *Deps, _ *feed.Options) { d.WriteTimeout = timeout })
	healthy, slow := s.follow(s.adminToken, "", ""), s.follow(s.adminToken, "", "")
	system := clock.System()
	var ids []string
	seen := map[string]bool{}
	for began := system.Now(); system.Since(began) < 4*timeout || s.feed.Stats().Followers > 1; {
		if system.Since(began) > 2*time.Minute {
			t.Fatal("the slow follower is not cut off")
		}
		batch := s.newTokenRevoked(1000)
		ids = append(ids, batch...)
		for range batch {
			seen[idOf(t, healthy.next())] = true
		}
	}
	if len(seen) != len(ids) {
		t.Errorf("the healthy one has heard of %d of %d", len(seen), len(ids))
	}
	// What the slow one finds in its buffers was sent in order; from there it goes
	// on, by the feed or, when that was too long ago, by the snapshot.
	had := map[string]bool{}
	must(t, slow.conn.SetReadDeadline(system.Now().Add(30*time.Second)))
	for {
		e, err := readEvent(slow.r)
		if err != nil {
			break
		}
		slow.last = e.id
		had[idOf(t, e)] = true
	}
	again := s.follow(s.adminToken, "", slow.last)
	if len(had) == len(ids) {
		t.Fatal("the slow one has missed nothing: the test shows nothing")
	}
	first := again.next()
	if first.name == "reset" {
		for _, id := range s.snapshotIDs("") {
			had[id] = true
		}
	} else {
		had[idOf(t, first)] = true
		for len(had) < len(ids) {
			had[idOf(t, again.next())] = true
		}
	}
	for _, id := range ids {
		if !had[id] {
			t.Fatalf("%s is lost", id)
		}
	}
	t.Logf("%d revocations; it went on with %s", len(ids), first.name)
}

func idOf(t testing.TB, e sent) string {
	t.Helper()
	var v struct{ ID string }
	must(t, json.Unmarshal([]byte(e.data), &v))
	return v.ID
}

func (s *street) snapshotIDs(query string) (ids []string) {
	s.t.Helper()
	var v struct {
		Tokens []struct{ IDs []string }
	}
	must(s.t, json.Unmarshal([]byte(s.as(http.MethodGet, "/v1/revocations/snapshot"+query, "").is(s.t, 200).text), &v))
	for _, group := range v.Tokens {
		ids = append(ids, group.IDs...)
	}
	return ids
}

func TestOnlySoManyMayFollow(t *testing.T) {
	t.Parallel()
	s := newStreet(t, func(_ *Deps, o *feed.Options) { o.Followers, o.PerAccount = 3, 2 })
	c := s.account("verifier", identity.RoleValidatorID)
	one, _ := s.follow(s.adminToken, "", ""), s.follow(s.adminToken, "", "")
	if f := s.dial(s.adminToken, "", ""); f.resp.StatusCode != 429 || f.resp.Header.Get("Retry-After") == "" {
		t.Error(f.resp.Status)
	}
	other := s.token(c, "resource", identity.ManagementIdentifier)
	s.follow(other, "", "")
	if f := s.dial(other, "", ""); f.resp.StatusCode != 503 || f.resp.Header.Get("Retry-After") == "" {
		t.Error(f.resp.Status)
	}
	must(t, one.conn.Close())
	system := clock.System()
	for deadline := system.Now().Add(20 * time.Second); s.feed.Stats().Followers == 3; {
		if system.Now().After(deadline) {
			t.Fatal("a follower that went away keeps its place")
		}
		s.beat() // who has gone is noticed when it is written to, mostly at the second time
		for soon := system.Now().Add(time.Second); s.feed.Stats().Followers == 3 && system.Now().Before(soon); {
			runtime.Gosched()
		}
	}
	s.follow(other, "", "")
}

func TestTheSnapshotHasWhatTheFeedHasTold(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	_, role := s.invoices()
	agent := s.account("agent", role, identity.RoleValidatorID)
	invoices := s.token(agent, "resource", "https://invoices.example.com")
	management := s.token(agent, "resource", identity.ManagementIdentifier)
	for _, tok := range []string{invoices, management} {
		s.revoke(`{"token":"` + tok + `"}`)
	}
	unknown := identity.NewID(identity.PrefixToken, s.clock.Now())
	s.revoke(`{"token_id":"` + unknown + `"}`)
	s.revoke(`{"service_account":"` + agent.id + `"}`)
	for query, n := range map[string]int{"": 3, "?audience=https://invoices.example.com": 2, "?audience=" + identity.ManagementIdentifier: 2} {
		if got := s.snapshotIDs(query); len(got) != n {
			t.Errorf("%q: %v", query, got)
		}
	}
	a := s.as(http.MethodGet, "/v1/revocations/snapshot", "").is(t, 200)
	if !strings.Contains(a.text, `"service_accounts":[{"id":"`+agent.id+`","gen":2,`) {
		t.Error(a.text)
	}
	etag := a.Header.Get("ETag")
	if etag != fmt.Sprintf(`W/"%d"`, s.store.Snapshot()) || a.str("position") != strconv.FormatInt(s.store.Snapshot(), 10) {
		t.Errorf("%s %s", etag, a.str("position"))
	}
	s.as(http.MethodGet, "/v1/revocations/snapshot", "", "If-None-Match", etag).is(t, 304)
	resp, packed := ask(t, s.world.app, http.MethodGet, "/v1/revocations/snapshot", "",
		"Authorization", "Bearer "+s.adminToken, "Accept-Encoding", "br, gzip;q=0.5")
	if resp.Header.Get("Content-Encoding") != "gzip" {
		t.Fatal(resp.Header)
	}
	r, err := gzip.NewReader(strings.NewReader(packed))
	must(t, err)
	text, err := io.ReadAll(r)
	must(t, err)
	if string(text) != a.text {
		t.Errorf("compressed it is %s, and else %s", text, a.text)
	}
	s.revoke(`{"service_account":"` + agent.id + `"}`)
	if a := s.as(http.MethodGet, "/v1/revocations/snapshot", "", "If-None-Match", etag).is(t, 200); !strings.Contains(a.text, `"gen":3`) {
		t.Error(a.text)
	}
	s.as(http.MethodGet, "/v1/revocations/snapshot?audience=https://nowhere.example", "").is(t, 404)
}

// A stream ends with whatever would refuse a new call by the same token.
func TestAStreamEndsWithWhateverRefusesANewCall(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][2]string{
		"the key gives less":                 {"key", `{"permissions":[{"resource_server":"` + identity.ManagementResourceServerID + `","permission":"tokens:introspect"}]}`},
		"the key is for another network":     {"key", `{"allowed_networks":["198.51.100.0/24"]}`},
		"the account is for another network": {"", `{"allowed_networks":["198.51.100.0/24"]}`},
		"keys are allowed no more":           {"", `{"allowed_credentials":["client_secret"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			c := s.account("verifier", identity.RoleValidatorID)
			made := s.apiKey(c.id, `{"name":"k"}`)
			tok := s.login(made.str("api_key"), "resource", identity.ManagementIdentifier).is(t, 200).str("access_token")
			f := s.follow(tok, "", "")
			path := "/v1/service-accounts/" + c.id
			if body[0] == "key" {
				path += "/api-keys/" + made.str("id")
			}
			s.as(http.MethodPatch, path, body[1]).is(t, 200)
			if a := s.send(tok, http.MethodGet, "/v1/revocations/snapshot", ""); a.StatusCode < 400 {
				t.Fatal(a.StatusCode)
			}
			s.beat()
			if e, err := readEvent(f.r); !errors.Is(err, io.EOF) {
				t.Errorf("the stream goes on: %+v", e)
			}
		})
	}
}
