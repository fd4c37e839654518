package httpapi

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gofiber/fiber/v2"
	"github.com/jonboulle/clockwork"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/testkit"
)

const testIssuer = "https://marque.example.com"

var testTime = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// edge is the application without anything below it: enough for what is refused
// before a use case is asked.
func edge(t testing.TB, issuer string) *fiber.App {
	t.Helper()
	app, err := newApp(Deps{Issuer: issuer, Keys: someKeys(t), Clock: clockwork.NewFakeClockAt(testTime)})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// someKeys are keys of a database of their own.
func someKeys(t testing.TB) *keyring.Keyring {
	t.Helper()
	clk := clockwork.NewFakeClockAt(testTime)
	master, err := keyring.ParseMasterKeys(keyring.GenerateMasterKey(1))
	must(t, err)
	keys, err := keyring.Open(t.Context(), testkit.Open(t, testkit.SQLite(t), clk), master, clk, nil)
	must(t, err)
	must(t, keys.Bootstrap(t.Context()))
	return keys
}

// listen serves the application on a real TLS listener until the test ends.
func listen(t testing.TB, app *fiber.App) (address string, roots *x509.CertPool) {
	t.Helper()
	certificate := selfSigned(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- app.Listener(l) }()
	t.Cleanup(func() {
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
		<-done
	})
	roots = x509.NewCertPool()
	roots.AddCert(certificate.Leaf)
	return l.Addr().String(), roots
}

func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// wire sends bytes as they are over one TLS connection and reads one answer, so
// that no client library tidies them up first.
func wire(t testing.TB, address string, roots *x509.CertPool, raw string) (*http.Response, string) {
	t.Helper()
	resp, body, _ := wired(t, address, roots, raw)
	return resp, body
}

// wired is [wire], with the rest of the connection for 10 s.
func wired(t testing.TB, address string, roots *x509.CertPool, raw string) (first *http.Response, body string, rest io.Reader) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}})
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go func() { _, _ = io.WriteString(conn, raw) }() // the server may stop reading before the end
	method, _, _ := strings.Cut(raw, " ")
	reader := bufio.NewReader(conn)
	first, err = http.ReadResponse(reader, &http.Request{Method: method})
	must(t, err)
	text, err := io.ReadAll(first.Body)
	must(t, err)
	must(t, conn.SetReadDeadline(clock.System().Now().Add(10*time.Second)))
	return first, string(text), reader
}

// ask runs one request through the application.
func ask(t testing.TB, app *fiber.App, method, target, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "https://marque.example.com"+target, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := app.Test(req, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(got)
}

// loadSpec parses the contract once: it is large, and nobody writes to it.
var loadSpec = sync.OnceValues(api.GetSpec)

func spec(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// formSchemas are the schemas of all forms, by operationId.
func formSchemas(t testing.TB) map[string]*openapi3.Schema {
	t.Helper()
	forms := make(map[string]*openapi3.Schema)
	for _, item := range spec(t).Paths.Map() {
		for _, op := range item.Operations() {
			if op.RequestBody == nil {
				continue
			}
			if content := op.RequestBody.Value.Content[formType]; content != nil {
				forms[op.OperationID] = content.Schema.Value
			}
		}
	}
	if len(forms) == 0 {
		t.Fatal("no forms in the contract")
	}
	return forms
}

func tlsConfig(roots *x509.CertPool) *tls.Config { return &tls.Config{RootCAs: roots} }
