package main

import (
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestACertificateIsRenewedWithoutADroppedConnection: a client that is connected
// stays so, new ones see the new certificate on both listeners, and half a
// certificate changes nothing.
func TestACertificateIsRenewedWithoutADroppedConnection(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.succeeds(t, "master-key", "generate")
	i.succeeds(t, "migrate")
	s := i.node(t, nil, profile{CAFile: filepath.Join(i.dir, "dev", "ca.pem")})
	s.profile.Issuer = strings.Replace(s.profile.Issuer, "127.0.0.1", "localhost", 1)
	operations := s.operations(t)
	serial := func(url string) string {
		t.Helper()
		conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), s.tls(t))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	old := s.client(t)
	before := serial(s.profile.Issuer)
	get(t, old, s.profile.Issuer+"/openapi.json")

	// Another leaf of the same authority: a development server makes one where
	// there is none.
	dev := filepath.Join(i.dir, "dev")
	for _, file := range []string{"server.pem", "server-key.pem"} {
		must(t, os.Rename(filepath.Join(dev, file), filepath.Join(dev, "old-"+file)))
	}
	s.signal(t, syscall.SIGHUP)
	eventually(t, "the missing files are told of", func() bool { return strings.Contains(s.stderr.String(), "the old one stays in use") })
	if serial(s.profile.Issuer) != before {
		t.Error("the certificate has changed")
	}
	other := startDev(t, dev)
	other.stop(t)
	s.signal(t, syscall.SIGHUP)
	eventually(t, "new connections see the new certificate", func() bool { return serial(s.profile.Issuer) != before })
	if serial(operations) == before {
		t.Error("operators see the old certificate")
	}
	if !overOpenConnection(t, old, s.profile.Issuer+"/openapi.json") {
		t.Error("the connection that was open is gone")
	}
	_, metrics := get(t, s.client(t), operations+"/metrics")
	if !strings.Contains(metrics, `marque_certificate_reloads_total{outcome="failure"} 1`) || !strings.Contains(metrics, `marque_certificate_reloads_total{outcome="success"} 1`) {
		t.Error("the metrics do not count the renewals")
	}
	s.stop(t)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// overOpenConnection reads a page and tells whether it came over a connection that was open.
func overOpenConnection(t *testing.T, client *http.Client, url string) (reused bool) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	must(t, err)
	response, err := client.Do(request.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused },
	})))
	must(t, err)
	read(t, response, nil)
	return reused
}
