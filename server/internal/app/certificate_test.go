package app

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/config"
)

// renewal is a certificate in two files and what is said about it.
type renewal struct {
	t     *testing.T
	clock *clock.Fake
	cfg   config.Config
	*certificates
	log      bytes.Buffer
	outcomes []bool
}

const life = 100 * 24 * time.Hour

func renewing(t *testing.T) *renewal {
	t.Helper()
	dir := t.TempDir()
	r := &renewal{t: t, clock: clockwork.NewFakeClockAt(time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC))}
	r.cfg.TLS = config.TLS{CertificateFile: filepath.Join(dir, "tls.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	r.put(r.pair(life))
	var err error
	r.certificates, err = openCertificates(&r.cfg, Deps{Clock: r.clock, Log: slog.New(slog.NewTextHandler(&r.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r.reloaded = func(ok bool) { r.outcomes = append(r.outcomes, ok) }
	return r
}

func (r *renewal) pair(life time.Duration) *issuedPair {
	r.t.Helper()
	now := r.clock.Now()
	p, err := sign(&x509.Certificate{NotBefore: now, NotAfter: now.Add(life), DNSNames: []string{"localhost"}}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *renewal) write(path string, content []byte) {
	r.t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *renewal) put(p *issuedPair) {
	r.t.Helper()
	r.write(r.cfg.TLS.CertificateFile, p.certPEM)
	r.write(r.cfg.TLS.KeyFile, p.keyPEM)
}

// presents fails the test unless new connections get this certificate.
func (r *renewal) presents(when string, p *issuedPair) {
	r.t.Helper()
	got, err := r.config().GetCertificate(nil)
	if err != nil || !bytes.Equal(got.Certificate[0], p.certificate.Raw) {
		r.t.Errorf("%s: another certificate is presented (%v)", when, err)
	}
}

func (r *renewal) told(when string, want ...bool) {
	r.t.Helper()
	if len(r.outcomes) != len(want) || len(want) > 0 && r.outcomes[len(want)-1] != want[len(want)-1] {
		r.t.Errorf("%s: outcomes %v, want %v", when, r.outcomes, want)
	}
}

func TestANewCertificateIsTakenOver(t *testing.T) {
	t.Parallel()
	r := renewing(t)
	r.reload(false)
	r.told("nothing has changed")
	next := r.pair(2 * life)
	r.put(next)
	r.reload(false)
	r.presents("renewed", next)
	r.told("renewed", true)
	r.reload(true)
	r.told("nothing has changed since", true)
	if r.expires() != next.certificate.NotAfter {
		t.Errorf("expires %s", r.expires())
	}
}

func TestACertificateThatIsNoGoodLeavesTheOldOne(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		do   func(r *renewal)
	}{
		{"the key of another one", func(r *renewal) { r.write(r.cfg.TLS.KeyFile, r.pair(life).keyPEM) }},
		{"no PEM", func(r *renewal) { r.write(r.cfg.TLS.CertificateFile, []byte("hello")) }},
		{"no file", func(r *renewal) { _ = os.Remove(r.cfg.TLS.CertificateFile) }},
		{"expired", func(r *renewal) { r.put(r.pair(-time.Hour)) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := renewing(t)
			first := &issuedPair{certificate: r.current.Load().Leaf}
			tc.do(r)
			r.reload(false)
			r.told("once may be half of a new pair")
			r.reload(false)
			r.told("twice is an error", false)
			r.reload(false)
			r.told("which is told once", false)
			r.reload(true)
			r.told("unless somebody asks", false, false)
			r.presents("meanwhile", first)
			if got := strings.Count(r.log.String(), "level=ERROR"); got != 2 {
				t.Errorf("%d errors:\n%s", got, r.log.String())
			}
			next := r.pair(life)
			r.put(next)
			r.reload(false)
			r.presents("mended", next)
			r.told("mended", false, false, true)
		})
	}
}

func TestTheEndOfACertificateIsAnnounced(t *testing.T) {
	t.Parallel()
	r := renewing(t)
	says := func(when string, warnings, errors int) {
		t.Helper()
		r.notice()
		if w, e := strings.Count(r.log.String(), "level=WARN"), strings.Count(r.log.String(), "level=ERROR"); w != warnings || e != errors {
			t.Errorf("%s: %d warnings and %d errors:\n%s", when, w, e, r.log.String())
		}
	}
	says("in its youth", 0, 0)
	r.clock.Advance(life - expiryNotice - time.Second)
	says("15 days before", 0, 0)
	r.clock.Advance(2 * time.Second)
	says("14 days before", 1, 0)
	says("once", 1, 0)
	r.clock.Advance(noticeEvery)
	says("and again", 2, 0)
	if err := r.check(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	r.clock.Advance(expiryNotice)
	says("after its end", 2, 1)
	if err := r.check(); err == nil {
		t.Error("ready with an expired certificate")
	}
	r.put(r.pair(24 * time.Hour))
	r.reload(false)
	says("a short one in its youth", 2, 1)
	if err := r.check(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	r.clock.Advance(20 * time.Hour)
	says("a short one near its end", 3, 1)
}
