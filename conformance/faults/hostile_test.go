package faults

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// TestHostileRequestsAreCheap sends what is made to be expensive to read: deep
// nesting, names twice, many parameters, long lists. Each is refused, and costs
// the server no more than a request that is in order.
func TestHostileRequestsAreCheap(t *testing.T) {
	shortCut(t)
	times := inFull(1000, 40)
	s := start(t, options(t, ""))
	f := muster(t.Context(), t, s, 1)
	me := f.agents[0]
	encode := base64.RawURLEncoding.EncodeToString
	head := f.admin[:strings.IndexByte(f.admin, '.')]
	signature := f.admin[strings.LastIndexByte(f.admin, '.')+1:]
	forged := func(payload string) string { return head + "." + encode([]byte(payload)) + "." + signature }
	many := func(n int, of func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(of(i))
		}
		return b.String()
	}
	tokens := map[string]string{
		"deep":          forged(strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)),
		"lists":         forged(`{"a":` + strings.Repeat("[", 2900) + strings.Repeat("]", 2900) + "}"),
		"names twice":   forged("{" + many(600, func(i int) string { return fmt.Sprintf(`"%d":1,`, i%300) }) + `"z":1}`),
		"many names":    forged("{" + many(700, func(i int) string { return fmt.Sprintf(`"%d":1,`, i) }) + `"z":1}`),
		"long number":   forged(`{"exp":1` + strings.Repeat("0", 5800) + "}"),
		"long header":   strings.Repeat("A", 7000) + ".e30." + signature,
		"many parts":    strings.Repeat("A.", 4000),
		"long text":     strings.Repeat("A", 14_000),
		"escaped names": forged("{" + many(200, func(i int) string { return fmt.Sprintf(`"\u00%02x":1,`, 0x20+i%90) }) + `"z":1}`),
	}
	requests := map[string][]byte{}
	client := url.Values{"client_id": {me.id}, "client_secret": {me.secret}, "grant_type": {"client_credentials"}}.Encode()
	form := func(body string) []byte {
		return fmt.Appendf(nil, "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	document := func(body string) []byte {
		return fmt.Appendf(nil, "POST /v1/service-accounts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", f.admin, len(body), body)
	}
	lists := `{"name":"x","permissions":[` + strings.Repeat("{"+many(16, func(i int) string { return fmt.Sprintf(`"%d":1,`, i) })+`"z":1},`, 450) + "{}]}"
	requests["form, many parameters"] = form(client + many(8000, func(i int) string { return fmt.Sprintf("&p%d=1", i) }))
	requests["form, one many times"] = form(client + strings.Repeat("&scope=a", 7000))
	requests["form, many scopes"] = form(client + "&scope=" + strings.Repeat("invoices%3Aread+", 3500))
	requests["document, deep"] = document(`{"labels":` + strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_001))
	requests["document, lists"] = document(strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000))
	requests["document, many names"] = document("{" + many(6000, func(i int) string { return fmt.Sprintf(`"%d":1,`, i) }) + `"name":"x"}`)
	requests["document, names in lists"] = fmt.Appendf(nil, "POST /v1/roles HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		f.admin, len(lists), lists)
	for what, token := range tokens {
		requests["bearer, "+what] = getting("/v1/whoami", token)
		requests["introspection, "+what] = posting("/oauth2/introspect", url.Values{"token": {token}, "client_id": {s.AdminID}, "client_secret": {s.AdminSecret}})
	}

	type figure struct {
		each time.Duration
		what string
	}
	var anyone, signedIn figure // who may send it
	for what, request := range requests {
		l, err := dial(t.Context(), s)
		must(t, err)
		before, sent := processor(t, s), 0
		for began := time.Now(); sent < times && time.Since(began) < 5*time.Second; sent++ {
			a, err := l.ask(request)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				break
			}
			if refused := a.status/100 == 4 || strings.TrimSpace(string(a.body)) == `{"active":false}`; !refused {
				t.Fatalf("%s: %d %s", what, a.status, a.body)
			}
			if a.last {
				_ = l.conn.Close()
				l, err = dial(t.Context(), s)
				must(t, err)
			}
		}
		_ = l.conn.Close()
		each := (processor(t, s) - before) / time.Duration(max(sent, 1))
		t.Logf("%s: %.2f ms", what, float64(each.Microseconds())/1000)
		worst := &anyone
		if strings.HasPrefix(what, "document") {
			worst = &signedIn
		}
		if each > worst.each {
			*worst = figure{each, what}
		}
	}
	report(t, "hostile tokens and forms", sqlite, anyone.each <= time.Millisecond, "≤ 1 ms of processor each, TLS and HTTP included",
		"%d sorts, all refused; the dearest: %s, %s", len(requests), anyone.what, ms2(anyone.each))
	report(t, "hostile documents", sqlite, signedIn.each <= 10*time.Millisecond, "≤ 10 ms of processor each, from a caller who is signed in",
		"all refused; the dearest: %s, %s", signedIn.what, ms2(signedIn.each))
}

func ms2(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

// processor is how much processor time the server has used, to 10 ms.
func processor(t *testing.T, s *server.Server) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	must(t, err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
