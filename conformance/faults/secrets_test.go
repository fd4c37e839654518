package faults

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	order "encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/marque-id/marque/conformance/server"
)

// TestSecretsStayInside is busy for a while, also in the ways in which clients
// put secrets where they do not belong, with everything logged that can be: by
// the server, and by PostgreSQL every statement. Then all that was written is
// searched for every secret and token that was given out, and for all that the
// installation itself has to hide, the master key before and after its rotation
// first of all.
func TestSecretsStayInside(t *testing.T) {
	shortCut(t)
	busy := inFull(40, 4)
	run := func(t *testing.T, database string, o server.Options, written func() map[string][]byte) {
		o.Env["MARQUE_LOG_LEVEL"] = "debug"
		s := start(t, o)
		ctx := t.Context()
		f := muster(ctx, t, s, 8)
		needles := map[string]string{"the administrator's secret": s.AdminSecret, "the operator's token": f.admin}
		said := &outputs{}
		maps.Copy(needles, ownSecrets(t, o))
		for n := range busy {
			for i, a := range f.agents {
				needles[fmt.Sprintf("the secret of agent %d", i)] = a.secret
				status, _, body, err := s.Ask(ctx, s.HTTP, "/oauth2/token", signIn(a.id, a.secret))
				must(t, err)
				var answer struct {
					AccessToken string `json:"access_token"`
				}
				if must(t, json.Unmarshal(body, &answer)); status != http.StatusOK {
					t.Fatalf("a token: %d %s", status, body)
				}
				token := answer.AccessToken
				needles[fmt.Sprintf("token %d of agent %d", n, i)] = token
				needles[fmt.Sprintf("signature of token %d of agent %d", n, i)] = token[strings.LastIndexByte(token, '.')+1:]
				astray(t, s, f, a, token, n*len(f.agents)+i)
			}
			// A secret that is rotated, and one that is deleted.
			of := "/v1/service-accounts/" + f.agents[n%len(f.agents)].id + "/client-secrets"
			var secret struct {
				ID           string `json:"id"`
				ClientSecret string `json:"client_secret"`
			}
			must(t, s.Call(ctx, f.admin, http.MethodPost, of, map[string]any{}, &secret))
			needles[fmt.Sprintf("new secret %d", n)] = secret.ClientSecret
			id := secret.ID
			must(t, s.Call(ctx, f.admin, http.MethodPost, of+"/rotate", map[string]any{}, &secret))
			needles[fmt.Sprintf("rotated secret %d", n)] = secret.ClientSecret
			must(t, s.Call(ctx, f.admin, http.MethodDelete, of+"/"+id, nil, nil))
			must(t, s.Call(ctx, f.admin, http.MethodDelete, of+"/"+secret.ID, nil, nil))
			maps.Copy(needles, busyWithKeys(t, s, f, n))
		}
		said.add("the verification", verify(t, s), nil)
		said.ask(t, s, f.admin)
		// The old key is searched for as well as the new one, and what both open.
		said.run(t, s, "master-key", "rotate", "--one-node")
		maps.Copy(needles, ownSecrets(t, o))
		said.run(t, s, "master-key", "check")
		said.run(t, s, "config", "check")
		said.ask(t, s, f.admin)
		must(t, s.Call(ctx, f.admin, http.MethodPost, "/v1/service-accounts", map[string]any{"name": "planted", "owner": "faults", "description": planted}, nil))

		haystacks := written()
		haystacks["the tables"] = tables(t, o)
		must(t, s.Stop())
		for name, text := range written() { // and as it is after the end
			haystacks[name+" at the end"] = text
		}
		maps.Copy(haystacks, said.all)
		haystacks["server.log"] = serverLog(t, o)
		// What was put where all may read it is found: the search sees these places.
		if newNeedles(map[string]string{"planted": planted}).in(haystacks["the tables"]) == nil {
			t.Error("what was planted in the database is not found in its tables")
		}

		found, size, n := 0, 0, newNeedles(needles)
		for place, text := range haystacks {
			size += len(text)
			for _, find := range n.in(text) {
				if found++; found <= 20 {
					t.Errorf("%s is in %s, after …%q", find.what, place, text[max(0, find.at-150):find.at])
				}
			}
		}
		report(t, "secrets in outputs", database, found == 0, "0",
			"%d finds of %d secrets, tokens and keys in %d forms in %.1f MiB of logs, outputs and database", found, len(needles), len(forms(s.AdminSecret)), float64(size)/(1<<20))
	}

	t.Run(sqlite, func(t *testing.T) {
		o := options(t, "")
		run(t, sqlite, o, func() map[string][]byte { return files(t, filepath.Join(o.Dir, "marque.db*")) })
	})
	t.Run(postgreSQL, func(t *testing.T) {
		cluster, database := ownCluster(t, "")
		must(t, cluster.Exec(t.Context(), database, "ALTER SYSTEM SET log_statement = 'all'"))
		must(t, cluster.Exec(t.Context(), database, "SELECT pg_reload_conf()"))
		run(t, postgreSQL, options(t, database), func() map[string][]byte {
			must(t, cluster.Exec(t.Context(), database, "CHECKPOINT"))
			dump, err := cluster.Dump(t.Context(), database)
			must(t, err)
			all := files(t, cluster.Log(), filepath.Join(cluster.Dir(), "data", "base", "*", "*"), filepath.Join(cluster.Dir(), "data", "pg_wal", "*"))
			all["the dump"] = dump
			return all
		})
	})
}

// busyWithKeys is the same for an API key: made, used, sent to where it does not
// belong, rotated and deleted. It gives what must be found nowhere.
func busyWithKeys(t *testing.T, s *server.Server, f *fleet, n int) map[string]string {
	t.Helper()
	ctx := t.Context()
	a := f.agents[n%len(f.agents)]
	of := "/v1/service-accounts/" + a.id + "/api-keys"
	var made, rotated struct {
		ID     string `json:"id"`
		APIKey string `json:"api_key"`
	}
	must(t, s.Call(ctx, f.admin, http.MethodPost, of, map[string]any{"name": "busy"}, &made))
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	must(t, s.Call(ctx, "", http.MethodPost, "/v1/login", map[string]any{"api_key": made.APIKey}, &answer))
	astray(t, s, f, agent{id: a.id, secret: made.APIKey}, answer.AccessToken, 10_000+n)
	for _, body := range []map[string]any{
		{"api_key": made.APIKey[:len(made.APIKey)-1]}, {"api_key": made.APIKey, made.APIKey: 1},
		{"api_key": made.APIKey, "resource": made.APIKey}, {"api_key": made.APIKey, "scope": made.APIKey}, {"api_key": a.secret},
	} {
		if err := s.Call(ctx, "", http.MethodPost, "/v1/login", body, nil); err == nil {
			t.Errorf("a login that is wrong is answered")
		}
	}
	must(t, s.Call(ctx, f.admin, http.MethodPost, of+"/"+made.ID+"/rotate", map[string]any{}, &rotated))
	for _, id := range []string{made.ID, rotated.ID} {
		must(t, s.Call(ctx, f.admin, http.MethodDelete, of+"/"+id, nil, nil))
	}
	return map[string]string{
		fmt.Sprintf("API key %d", n): made.APIKey, fmt.Sprintf("rotated API key %d", n): rotated.APIKey,
		fmt.Sprintf("token %d by API key", n): answer.AccessToken,
	}
}

// planted looks like a secret and is none.
const planted = "mqs_planted0000000000000000000000000000000000000000000"

// outputs is what a server and its commands say when they are asked.
type outputs struct{ all map[string][]byte }

func (o *outputs) add(name, text string, problem error) {
	if o.all == nil {
		o.all = map[string][]byte{}
	}
	if problem != nil {
		text += problem.Error() // and what it wrote to standard error
	}
	o.all[fmt.Sprintf("%s (%d)", name, len(o.all))] = []byte(text)
}

// run runs a command of the operator's.
func (o *outputs) run(t *testing.T, s *server.Server, args ...string) {
	t.Helper()
	text, err := s.Command(t.Context(), args...)
	must(t, err)
	o.add("marque "+strings.Join(args, " "), text, nil)
}

// ask reads what is told to whoever may ask: the whole audit log, all lists, the
// documents, and what the operators' listener has.
func (o *outputs) ask(t *testing.T, s *server.Server, token string) {
	t.Helper()
	for _, path := range []string{"/v1/audit-events", "/v1/service-accounts", "/v1/resource-servers", "/v1/roles", "/v1/credentials"} {
		for _, item := range list[json.RawMessage](t.Context(), t, s, token, path) {
			o.add(path, string(item), nil)
		}
	}
	for _, address := range []string{
		s.URL + "/.well-known/jwks.json", s.URL + "/.well-known/oauth-authorization-server", s.URL + "/openapi.json",
		s.Operations + "/metrics", s.Operations + "/readyz", s.Operations + "/healthz",
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		must(t, err)
		response, err := s.HTTP.Do(request)
		must(t, err)
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		must(t, err)
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", address, response.StatusCode, text)
		}
		o.add(address, string(text), nil)
	}
}

// tables are all columns of all rows of all tables, value by value: no value is
// cut in two by a page of the database.
func tables(t *testing.T, o server.Options) []byte {
	t.Helper()
	db := reach(t, o)
	names := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if strings.HasPrefix(o.Database, "postgres") {
		names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
	}
	var all bytes.Buffer
	found := column(t, db, names)
	if len(found) < 10 {
		t.Errorf("there are only the tables %q", found)
	}
	for _, name := range found {
		rows, err := db.QueryContext(t.Context(), `SELECT * FROM "`+name+`"`)
		must(t, err)
		columns, err := rows.Columns()
		must(t, err)
		for rows.Next() {
			values, places := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				places[i] = &values[i]
			}
			must(t, rows.Scan(places...))
			for _, v := range values {
				if raw, ok := v.([]byte); ok {
					all.Write(raw)
				} else {
					fmt.Fprint(&all, v)
				}
				all.WriteByte('\n')
			}
		}
		must(t, errors.Join(rows.Err(), rows.Close()))
	}
	return all.Bytes()
}

func column(t *testing.T, db *sql.DB, query string) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	must(t, err)
	for rows.Next() {
		var one string
		must(t, rows.Scan(&one))
		all = append(all, one)
	}
	must(t, errors.Join(rows.Err(), rows.Close()))
	return all
}

// astray sends a secret and a token to where they do not belong.
func astray(t *testing.T, s *server.Server, f *fleet, a agent, token string, n int) {
	t.Helper()
	ctx := t.Context()
	client := s.From(fmt.Sprintf("127.2.%d.%d", n/250, 1+n%250)) // an address of its own: no budget is used up
	defer client.CloseIdleConnections()
	for _, form := range []url.Values{
		signIn(a.secret, a.secret),
		signIn(token, a.secret),
		signIn(a.id, token),
		{"grant_type": {a.secret}, "client_id": {a.id}, "client_secret": {a.secret}},
		{"grant_type": {"client_credentials"}, "client_id": {a.id}, "client_secret": {a.secret}, "scope": {a.secret}, "resource": {token}},
		{"grant_type": {"client_credentials"}, "client_id": {a.id}, "client_secret": {a.secret}, a.secret: {token}, token: {"1"}},
		{"grant_type": {"client_credentials"}, "client_id": {a.id, a.secret}, "client_secret": {a.secret, token}},
	} {
		_, _, _, err := s.Ask(ctx, client, "/oauth2/token", form)
		must(t, err)
	}
	for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
		_, _, _, err := s.Ask(ctx, client, path, url.Values{"client_id": {a.id}, "client_secret": {a.secret}, "token": {token[:len(token)-3]}, "token_type_hint": {a.secret}})
		must(t, err)
	}
	for _, path := range []string{
		"/oauth2/token?client_secret=" + a.secret + "&access_token=" + token,
		"/v1/whoami?access_token=" + token,
		"/v1/service-accounts?name_prefix=" + a.secret + "&page_token=" + token + "&" + a.secret + "=1",
		"/v1/service-accounts/" + a.secret,
		"/v1/service-accounts/" + token,
		"/" + a.secret + "/" + token,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			request, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(`{"name":"`+a.secret+`","`+token+`":1,`))
			must(t, err)
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("Authorization", "Bearer "+f.admin)
			request.Header.Set("X-Request-Id", a.secret)
			request.Header.Set("User-Agent", a.secret)
			request.Header.Set("Traceparent", "00-"+hex.EncodeToString([]byte(a.secret))[:32]+"-"+hex.EncodeToString([]byte(a.secret))[:16]+"-01")
			if n%2 == 0 {
				request.Header.Set("Authorization", "Bearer "+a.secret)
			}
			response, err := client.Do(request)
			must(t, err)
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
	}
}

// forms are the ways in which a secret may be written down: as it is, escaped
// for a URL, in hex, and in base64 at each of its three alignments.
func forms(secret string) map[string][]byte {
	b := []byte(secret)
	all := map[string][]byte{
		"plain": b, "hex": []byte(hex.EncodeToString(b)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(b))),
		"URL": []byte(url.QueryEscape(secret)), "URL in lower case": []byte(strings.ToLower(url.QueryEscape(secret))),
		"path": []byte(url.PathEscape(secret)), "quoted": []byte(strings.Trim(fmt.Sprintf("%q", secret), `"`)),
	}
	for shift := range 3 {
		// What stands before and after it mixes with its first and last characters.
		padded := append(make([]byte, shift), b...)
		end := len(padded) / 3 * 4
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := encoding.EncodeToString(padded)
			all[fmt.Sprintf("%s+%d", name, shift)] = []byte(text[(shift*4+2)/3 : end])
		}
	}
	return all
}

// needles are all that is searched for, found by the first eight bytes: one pass
// over a text is enough, however many there are.
type needles struct {
	filter [1 << 16]bool // by a hash of those bytes
	byHead map[[8]byte][]needle
}

type needle struct {
	what string
	text []byte
}

type find struct {
	what string
	at   int
}

func newNeedles(secrets map[string]string) *needles {
	n := &needles{byHead: map[[8]byte][]needle{}}
	for what, secret := range secrets {
		seen := map[string]bool{}
		for form, text := range forms(secret) {
			if seen[string(text)] || len(text) < 16 {
				continue // forms of a secret may be spelled alike
			}
			seen[string(text)] = true
			head := [8]byte(text)
			n.byHead[head] = append(n.byHead[head], needle{what + " (" + form + ")", text})
			n.filter[hashOf(head[:])] = true
		}
	}
	return n
}

func hashOf(b []byte) uint16 {
	return uint16(order.LittleEndian.Uint64(b) * 0x9E3779B97F4A7C15 >> 48)
}

func (n *needles) in(text []byte) (finds []find) {
	for i := 0; i+8 <= len(text); i++ {
		if !n.filter[hashOf(text[i:])] {
			continue
		}
		for _, candidate := range n.byHead[[8]byte(text[i:i+8])] {
			if bytes.HasPrefix(text[i:], candidate.text) {
				finds = append(finds, find{candidate.what, i})
			}
		}
	}
	return finds
}

// TestTheSearchFindsWhatIsThere holds the search itself to a text that has a
// secret in it in every form, at every alignment.
func TestTheSearchFindsWhatIsThere(t *testing.T) {
	t.Parallel()
	const secret = "mqs_0123456789/+ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijk"
	n := newNeedles(map[string]string{"it": secret})
	texts := []string{secret, hex.EncodeToString([]byte(secret)), fmt.Sprintf("%X", secret), url.QueryEscape(secret), strings.ToLower(url.QueryEscape(secret))}
	for before := range 6 {
		for after := range 3 {
			text := []byte(strings.Repeat("x", before) + secret + strings.Repeat("y", after))
			for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
				texts = append(texts, encoding.EncodeToString(text))
			}
		}
	}
	texts = append(texts, url.PathEscape(secret), fmt.Sprintf("%q", secret))
	for _, text := range texts {
		if len(n.in([]byte("some text "+text+" and more"))) == 0 {
			t.Errorf("not found in %s", text)
		}
	}
	// A key is bytes, of any value.
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i * 37)
	}
	n = newNeedles(map[string]string{"it": string(key)})
	for _, text := range []string{string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key), url.QueryEscape(string(key)), url.PathEscape(string(key))} {
		if len(n.in([]byte("some text "+text+" and more"))) == 0 {
			t.Errorf("the key is not found in %q", text)
		}
	}
	if finds := n.in([]byte(strings.Repeat("nothing to see here ", 100))); finds != nil {
		t.Errorf("found where it is not: %v", finds)
	}
}

// files are the contents of all files that match, without those that are gone.
func files(t *testing.T, patterns ...string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		must(t, err)
		for _, path := range paths {
			if info, err := os.Stat(path); err != nil || info.IsDir() {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil && !os.IsNotExist(err) && !os.IsPermission(err) {
				t.Error(err)
			}
			if len(text) > 0 {
				all[filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path)] = text
			}
		}
	}
	return all
}
