package httpapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/testkit"
)

// called counts who connects to an address of its own.
type called struct {
	net.Listener
	by chan string
}

func newCalled(t *testing.T) *called {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &called{l, make(chan string, 100)}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.by <- conn.RemoteAddr().String()
			_ = conn.Close()
		}
	}()
	return c
}

// never fails the test if anybody has connected. It connects itself: connections
// are taken in their order, so the first one that was counted must be its own.
func (c *called) never(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addr().String())
	must(t, err)
	defer func() { _ = conn.Close() }()
	if by := <-c.by; by != conn.LocalAddr().String() {
		t.Errorf("%s has connected to an address that is only in a token", by)
	}
}

// A token says itself where its key is to be had: by an address, by a path, by a
// query, or with the key enclosed. All of these are signed, most of them by the
// key of this server over claims that are good, so that nothing but the header
// stands against them. Nobody is called, no statement carries their text, and the
// answer is the one to any garbage: it does not tell how far a forger has come.
func TestATokenThatSaysWhereItsKeyIsIsGarbage(t *testing.T) {
	t.Parallel()
	// The server of the tests logs every statement of this world's connections.
	w := newWorldWith(t, testkit.Postgres(t)+"&options=-c%20log_statement%3Dall", rates{limit.MaxPerMinute, limit.MaxPerMinute, limit.MaxPerMinute})
	l := newCalled(t)
	const marker = "k1d-of-a-forger"
	encode := base64.RawURLEncoding.EncodeToString
	active, err := w.keys.Signer(jose.ES256)
	must(t, err)
	der, err := active.MarshalPKCS8()
	must(t, err)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	must(t, err)
	ours := parsed.(*ecdsa.PrivateKey)
	theirs, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	public, err := jose.NewPublicKey(jose.ES256, marker, &theirs.PublicKey)
	must(t, err)
	certificate := base64.StdEncoding.EncodeToString(selfSigned(t).Leaf.Raw)
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(w.adminToken, ".")[1])
	must(t, err)

	// By hand: what signs our tokens would not sign these.
	sign := func(key *ecdsa.PrivateKey, claims string, more map[string]any) string {
		header := map[string]any{"alg": "ES256", "kid": active.KeyID(), "typ": "at+jwt"}
		for name, value := range more {
			header[name] = value
		}
		text, err := json.Marshal(header)
		must(t, err)
		signing := encode(text) + "." + encode([]byte(claims))
		digest := sha256.Sum256([]byte(signing))
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		must(t, err)
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signing + "." + encode(signature)
	}
	// With nothing more it is good: what follows is refused for its header.
	w.send(sign(ours, string(claims), nil), http.MethodGet, "/v1/whoami", "").is(t, http.StatusOK)

	at := l.Addr().String() + "/" + marker
	elsewhere := strings.Replace(string(claims), `"`+testIssuer+`"`, `"http://`+at+`"`, 1)
	tokens := map[string]string{
		"jku":                   sign(ours, string(claims), map[string]any{"jku": "http://" + at}),
		"jku over TLS":          sign(ours, string(claims), map[string]any{"jku": "https://" + at}),
		"jku, their key":        sign(theirs, string(claims), map[string]any{"jku": "http://" + at, "kid": marker}),
		"x5u":                   sign(ours, string(claims), map[string]any{"x5u": "http://" + at}),
		"x5u, their key":        sign(theirs, string(claims), map[string]any{"x5u": "https://" + at, "kid": marker}),
		"jwk":                   sign(theirs, string(claims), map[string]any{"jwk": json.RawMessage(public.JWK())}),
		"jwk under its own kid": sign(theirs, string(claims), map[string]any{"jwk": json.RawMessage(public.JWK()), "kid": marker}),
		"x5c":                   sign(theirs, string(claims), map[string]any{"x5c": []string{certificate}}),
		"kid unknown":           sign(theirs, string(claims), map[string]any{"kid": marker}),
		"kid an address":        sign(theirs, string(claims), map[string]any{"kid": "http://" + at}),
		"kid a path":            sign(theirs, string(claims), map[string]any{"kid": "../../../../dev/" + marker}),
		"kid SQL":               sign(theirs, string(claims), map[string]any{"kid": "' OR '" + marker + "' = '" + marker}),
		"kid with NUL":          sign(theirs, string(claims), map[string]any{"kid": active.KeyID() + "\x00" + marker}),
		"kid of 4 KiB":          sign(theirs, string(claims), map[string]any{"kid": strings.Repeat(marker, 4<<10/len(marker))}),
		"our kid, their key":    sign(theirs, string(claims), nil),
		"iss an address":        sign(ours, elsewhere, nil),
		"iss, their key":        sign(theirs, elsewhere, map[string]any{"kid": marker}),
	}
	garbage := w.send("x", http.MethodGet, "/v1/whoami", "").is(t, http.StatusUnauthorized)
	if garbage.str("request_id") == "" {
		t.Fatalf("an answer without a request id: %s", garbage.text)
	}
	for name, token := range tokens {
		a := w.send(token, http.MethodGet, "/v1/whoami", "")
		if diff := cmp.Diff(impersonal(garbage), impersonal(a)); diff != "" {
			t.Errorf("%s is told from garbage: %s", name, diff)
		}
		inactive := w.post("/oauth2/introspect", "token", token, "Authorization:", basic(w.admin.id, w.admin.secret)).is(t, http.StatusOK)
		if inactive.text != `{"active":false}` {
			t.Errorf("introspection of %s: %s", name, inactive.text)
		}
		w.post("/oauth2/revoke", "token", token, "Authorization:", basic(w.admin.id, w.admin.secret)).is(t, http.StatusOK)
	}
	l.never(t)

	// What is in a statement is seen in the log.
	w.account("an-account-for-the-log")
	log := testkit.PostgresLog(t)
	if !strings.Contains(log, "an-account-for-the-log") {
		t.Error("statements are not in the log of PostgreSQL")
	}
	if strings.Contains(log, marker) {
		t.Error("a statement carries the text of a header")
	}
	for name, token := range tokens {
		if head, _, _ := strings.Cut(token, "."); name != "our kid, their key" && name != "iss an address" && strings.Contains(log, head) {
			t.Errorf("a statement carries %s", name)
		}
	}
}

// impersonal is all of an answer but what differs with every request.
func impersonal(a answer) (all []string) {
	all = append(all, a.Status)
	hide := strings.NewReplacer()
	if id := a.str("request_id"); id != "" {
		hide = strings.NewReplacer(id, "(request id)")
	}
	for _, name := range []string{"Content-Type", "Content-Length", "Cache-Control", "WWW-Authenticate", "Retry-After", "X-Request-Id"} {
		all = append(all, name+": "+hide.Replace(strings.Join(a.Header.Values(name), ", ")))
	}
	return append(all, hide.Replace(a.text))
}
