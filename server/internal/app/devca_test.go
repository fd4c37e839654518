package app

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/marque-id/marque/server/internal/clock"
)

func issue(t *testing.T, dir string, clk clock.Clock) (authority, leaf []byte, chain tls.Certificate) {
	t.Helper()
	chain, err := devCertificate(dir, clk)
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]*[]byte{caCertificateFile: &authority, leafCertificateFile: &leaf} {
		if *to, err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return authority, leaf, chain
}

func TestTheDevelopmentCertificateServesThisMachineAlone(t *testing.T) {
	t.Parallel()
	clk := clockwork.NewFakeClockAt(time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC))
	authority, _, certificate := issue(t, t.TempDir(), clk)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		t.Fatal("the authority is no certificate")
	}
	for name, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "example.com": false, "192.0.2.1": false} {
		_, err := certificate.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: clk.Now()})
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheAuthorityCannotVouchForOtherNames(t *testing.T) {
	t.Parallel()
	clk := clockwork.NewFakeClockAt(time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC))
	ca, err := newAuthority(clk.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := sign(&x509.Certificate{
		NotBefore: clk.Now(), NotAfter: clk.Now().Add(time.Hour), DNSNames: []string{"example.com"},
	}, ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	if _, err := other.certificate.Verify(x509.VerifyOptions{DNSName: "example.com", Roots: roots, CurrentTime: clk.Now()}); err == nil {
		t.Error("a certificate for example.com was accepted")
	}
}

func TestTheDevelopmentCertificateIsRenewedOnlyWhenItMustBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clk := clockwork.NewFakeClockAt(time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC))
	authority, leaf, _ := issue(t, dir, clk)

	for _, step := range []struct {
		name                  string
		before                func()
		newAuthority, newLeaf bool
	}{
		{"at once again", func() {}, false, false},
		{"long before it expires", func() { clk.Advance(50 * 24 * time.Hour) }, false, false},
		{"near its expiry", func() { clk.Advance(15 * 24 * time.Hour) }, false, true},
		{"a leaf without its key", func() { remove(t, dir, leafKeyFile) }, false, true},
		{"a lost authority", func() { remove(t, dir, caCertificateFile) }, true, true},
		{"an authority near its expiry", func() { clk.Advance(caLifetime - renewBefore) }, true, true},
	} {
		step.before()
		a, l, certificate := issue(t, dir, clk)
		if bytes.Equal(a, authority) == step.newAuthority {
			t.Errorf("%s: new authority: %v", step.name, !step.newAuthority)
		}
		if bytes.Equal(l, leaf) == step.newLeaf {
			t.Errorf("%s: new leaf: %v", step.name, !step.newLeaf)
		}
		if now := clk.Now(); now.Before(certificate.Leaf.NotBefore) || now.After(certificate.Leaf.NotAfter) {
			t.Errorf("%s: the certificate is not valid now", step.name)
		}
		authority, leaf = a, l
	}
}

func TestForeignFilesAreNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{caCertificateFile, caKeyFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := devCertificate(dir, clockwork.NewFakeClock()); err == nil {
		t.Error("they were taken for ours")
	}
	if content, _ := os.ReadFile(filepath.Join(dir, caKeyFile)); string(content) != "mine" {
		t.Error("they were replaced")
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
