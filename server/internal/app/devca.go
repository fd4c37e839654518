package app

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
)

// The local certificate authority of a development server. Its key never leaves
// the data directory, and it may sign for this machine's own names alone
// (RFC 5280 section 4.2.1.10): a stolen one is of no use against other sites.
const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 90 * 24 * time.Hour
	renewBefore  = 30 * 24 * time.Hour
	// backdate keeps a certificate valid for a peer whose clock is a little behind.
	backdate = time.Hour
)

const (
	caCertificateFile   = "ca.pem"
	caKeyFile           = "ca-key.pem"
	leafCertificateFile = "server.pem"
	leafKeyFile         = "server-key.pem"
)

// issuedPair is a certificate with its private key.
type issuedPair struct {
	certificate *x509.Certificate
	key         crypto.Signer
	certPEM     []byte
	keyPEM      []byte
}

// devCertificate gives the certificate of a development server from dir, and
// makes what is missing or about to expire. The authority is kept as long as it
// serves, since clients have been told to trust it; the leaf is renewed under
// it without anybody noticing.
func devCertificate(dir string, clk clock.Clock) (tls.Certificate, error) {
	now := clk.Now()
	ca, err := loadPair(dir, caCertificateFile, caKeyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	if ca == nil || !serves(ca, now) {
		if ca, err = newAuthority(now); err != nil {
			return tls.Certificate{}, err
		}
		if err := ca.save(dir, caCertificateFile, caKeyFile); err != nil {
			return tls.Certificate{}, err
		}
	}

	leaf, err := loadPair(dir, leafCertificateFile, leafKeyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	// A crash between the authority and its leaf leaves a leaf of the old
	// authority: the signature tells.
	if leaf == nil || !serves(leaf, now) || leaf.certificate.CheckSignatureFrom(ca.certificate) != nil {
		if leaf, err = newLeaf(ca, now); err != nil {
			return tls.Certificate{}, err
		}
		if err := leaf.save(dir, leafCertificateFile, leafKeyFile); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.X509KeyPair(leaf.certPEM, leaf.keyPEM)
}

func serves(p *issuedPair, now time.Time) bool {
	return now.After(p.certificate.NotBefore) && now.Add(renewBefore).Before(p.certificate.NotAfter)
}

func newAuthority(now time.Time) (*issuedPair, error) {
	return sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "Marque development authority", Organization: []string{"Marque (this machine only)"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,

		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}, nil)
}

func newLeaf(ca *issuedPair, now time.Time) (*issuedPair, error) {
	return sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(leafLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}, ca)
}

// sign makes a P-256 key and a certificate for it, signed by ca or by itself.
func sign(template *x509.Certificate, ca *issuedPair) (*issuedPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	parent, parentKey := template, crypto.Signer(key)
	if ca != nil {
		parent, parentKey = ca.certificate, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &issuedPair{
		certificate: certificate, key: key,
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// save writes the key first: a crash between the two leaves a key without a
// matching certificate, which loadPair reports as nothing there.
func (p *issuedPair) save(dir, certFile, keyFile string) error {
	if err := WriteFile(filepath.Join(dir, keyFile), p.keyPEM); err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, certFile), p.certPEM)
}

// loadPair reads a pair that save wrote; nil when there is none, or only half
// of one. A file that is no PEM of ours is an error: it is not ours to replace.
func loadPair(dir, certFile, keyFile string) (*issuedPair, error) {
	certPEM, err := readIfThere(filepath.Join(dir, certFile))
	if err != nil {
		return nil, err
	}
	keyPEM, err := readIfThere(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	if certPEM == nil || keyPEM == nil {
		return nil, nil
	}
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, fmt.Errorf("%s and %s in %s are not PEM files; move them away to get new ones", certFile, keyFile, dir)
	}
	certificate, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", certFile, dir, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", keyFile, dir, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New(keyFile + " in " + dir + " is not an ECDSA key")
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, nil
	}
	return &issuedPair{certificate: certificate, key: key, certPEM: certPEM, keyPEM: keyPEM}, nil
}
