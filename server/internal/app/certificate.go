package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/config"
)

const (
	// certificatePoll is how late a new certificate is seen without SIGHUP.
	certificatePoll = 5 * time.Second
	// expiryNotice is when an operator is told that a certificate is about to
	// expire; one that lives shortly is told of in the last fifth of its life.
	expiryNotice = 14 * 24 * time.Hour
	// noticeEvery is how often that is repeated.
	noticeEvery = 12 * time.Hour
)

// certificates is the certificate that all listeners present, and its renewal.
// New connections get the newest; those that are open keep theirs and notice
// nothing.
type certificates struct {
	certFile, keyFile string
	clock             clock.Clock
	log               *slog.Logger
	reloaded          func(ok bool) // told of each change of the files

	current atomic.Pointer[tls.Certificate]

	mu       sync.Mutex
	loaded   [sha256.Size]byte // of the files that current came from
	refused  [sha256.Size]byte // of files that were no good, and logged
	doubtful [sha256.Size]byte // of files that were no good when first seen
	noticed  time.Time         // when the expiry was last logged
}

// openCertificates loads the configured certificate, or in development makes one.
func openCertificates(cfg *config.Config, deps Deps) (*certificates, error) {
	c := &certificates{
		certFile: cfg.TLS.CertificateFile, keyFile: cfg.TLS.KeyFile,
		clock: deps.Clock, log: deps.Log, reloaded: func(bool) {},
	}
	if c.certFile == "" && cfg.Dev {
		if _, err := devCertificate(cfg.DataDir, deps.Clock); err != nil {
			return nil, err
		}
		c.certFile, c.keyFile = cfg.InDataDir(leafCertificateFile), cfg.InDataDir(leafKeyFile)
	}
	certificate, digest, err := c.read()
	if err != nil {
		return nil, fmt.Errorf("tls.certificate_file, tls.key_file: %w", err)
	}
	c.current.Store(certificate)
	c.loaded = digest
	return c, nil
}

// read reads the pair. The digest is of what the files hold, whether it is any
// good or not; it is zero when they cannot be read.
func (c *certificates) read() (_ *tls.Certificate, digest [sha256.Size]byte, err error) {
	certPEM, err := os.ReadFile(c.certFile)
	if err != nil {
		return nil, digest, err
	}
	keyPEM, err := os.ReadFile(c.keyFile)
	if err != nil {
		return nil, digest, err
	}
	digest = sha256.Sum256(bytes.Join([][]byte{certPEM, keyPEM}, []byte{0}))
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, digest, err
	}
	if expired := certificate.Leaf.NotAfter; c.clock.Now().After(expired) {
		return nil, digest, fmt.Errorf("the certificate expired on %s", showTime(expired))
	}
	return &certificate, digest, nil
}

func showTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// config is the TLS of every listener: its certificate is the one of the moment.
//
// ALPN offers HTTP/1.1 alone, which is what fasthttp speaks. The curves are Go's
// own choice, so that the hybrid with ML-KEM stays in.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
	}
}

// watch takes over new certificates and tells of the end of the present one,
// until ctx ends.
func (c *certificates) watch(ctx context.Context) {
	ticker := c.clock.NewTicker(certificatePoll)
	defer ticker.Stop()
	c.notice()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
			c.reload(false)
			c.notice()
		}
	}
}

// reload takes over the pair in the files if it has changed. One that is no
// good leaves the present one in place. Two files are replaced one after the
// other, so that half of a new pair may be seen: unless somebody has asked for
// the reload, it is called an error only when it is still there the next time.
func (c *certificates) reload(asked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	certificate, digest, err := c.read()
	switch {
	case err == nil && digest == c.loaded:
		c.refused, c.doubtful = [sha256.Size]byte{}, [sha256.Size]byte{}
		return
	case err == nil:
		c.current.Store(certificate)
		c.loaded, c.noticed = digest, time.Time{}
		c.refused, c.doubtful = [sha256.Size]byte{}, [sha256.Size]byte{}
		c.reloaded(true)
		c.log.Info("a new certificate is in use", slog.String("expires", showTime(certificate.Leaf.NotAfter)))
		return
	}
	if digest == ([sha256.Size]byte{}) {
		digest = sha256.Sum256([]byte(err.Error())) // a missing file is told of once as well
	}
	if !asked && (digest == c.refused || digest != c.doubtful) {
		c.doubtful = digest
		return
	}
	c.refused, c.doubtful = digest, digest
	c.reloaded(false)
	c.log.Error("the new certificate is no good; the old one stays in use",
		slog.String("certificate_file", c.certFile), slog.String("key_file", c.keyFile), slog.Any("error", err))
}

// expires is when the present certificate does.
func (c *certificates) expires() time.Time { return c.current.Load().Leaf.NotAfter }

// check is what readiness asks.
func (c *certificates) check() error {
	if expires := c.expires(); c.clock.Now().After(expires) {
		return errors.New("the certificate expired on " + showTime(expires))
	}
	return nil
}

// notice logs that the certificate is about to expire, or has.
func (c *certificates) notice() {
	c.mu.Lock()
	defer c.mu.Unlock()
	leaf, now := c.current.Load().Leaf, c.clock.Now()
	before := min(expiryNotice, leaf.NotAfter.Sub(leaf.NotBefore)/5)
	if now.Before(leaf.NotAfter.Add(-before)) || !c.noticed.IsZero() && now.Sub(c.noticed) < noticeEvery {
		return
	}
	c.noticed = now
	if now.After(leaf.NotAfter) {
		c.log.Error("the certificate has expired: clients refuse it", slog.String("expired", showTime(leaf.NotAfter)))
		return
	}
	c.log.Warn("the certificate is about to expire; put a new one in its files", slog.String("expires", showTime(leaf.NotAfter)))
}
