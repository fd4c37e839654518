package driver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"slices"
	"time"

	marque "github.com/marque-id/marque/sdks/go"
)

// construct makes a client or a verifier of what the request says and nothing else.
func (d *Driver) construct(r *Request) Answer {
	d.setenv(r.Environment)
	var c marque.Clock
	if r.Clock != nil {
		fake := &clock{now: time.Unix(r.Clock.At, 0).UTC()}
		d.clocks = append(d.clocks, fake)
		c = fake
		if d.bent.Clock != nil {
			c = d.bent.Clock(c)
		}
	}
	var sender *http.Client
	caFile := r.CAFile
	if d.bent.Transport != nil {
		sender, caFile = &http.Client{Transport: d.bent.Transport(trusting(caFile))}, ""
	}
	if r.Kind == "verifier" {
		return d.newVerifier(r, c, sender, caFile)
	}
	return d.newClient(r, c, sender, caFile)
}

func (d *Driver) newClient(r *Request, c marque.Clock, sender *http.Client, caFile string) Answer {
	config := marque.Config{
		Issuer: r.Issuer, CAFile: caFile, HTTPClient: sender, Clock: c,
		Timeout: seconds(r.Timeout), TokenTimeout: seconds(r.TokenTimeout),
	}
	if given := r.Credentials; given != nil {
		switch {
		case given.APIKey != "":
			config.Credential = marque.APIKeyCredential(marque.Secret(given.APIKey))
		case given.APIKeyFile != "":
			config.Credential = marque.APIKeyFileCredential(given.APIKeyFile)
		case given.ClientSecretFile != "":
			config.Credential = marque.SecretFileCredential(given.ClientID, given.ClientSecretFile)
		default:
			config.Credential = marque.SecretCredential(given.ClientID, marque.Secret(given.ClientSecret))
		}
	}
	if r.Retries != nil {
		config.MaxRetries = *r.Retries
		if *r.Retries == 0 {
			config.MaxRetries = -1
		}
	}
	if w := r.RefreshWindows; w != nil {
		config.RefreshWindows = &marque.RefreshWindows{Advisory: seconds(w.Advisory), Mandatory: seconds(w.Mandatory)}
	}
	made, err := marque.New(config)
	if err != nil {
		return refused(err)
	}
	d.mu.Lock()
	d.clients[r.As] = &client{made, r, r.Resource, r.Scopes}
	d.mu.Unlock()
	return Answer{OK: object{"text": printed(made) + printed(config.Credential) + printed(config)}}
}

func (d *Driver) newVerifier(r *Request, c marque.Clock, sender *http.Client, caFile string) Answer {
	config := marque.VerifierConfig{Issuer: r.Issuer, CAFile: caFile, HTTPClient: sender, Clock: c, Timeout: seconds(r.Timeout)}
	if r.Leeway != nil {
		config.Leeway = seconds(*r.Leeway)
		if *r.Leeway == 0 {
			config.Leeway = -1
		}
	}
	if r.Revoked != nil {
		config.Revocations = revoked(r.Revoked)
	}
	var follower *marque.Follower
	if f := r.Follow; f != nil {
		c := d.clients[f.Client]
		if c == nil {
			return fault("there is no client %s", f.Client)
		}
		follower = c.FollowRevocations(marque.FollowConfig{Audience: f.Audience, StaleAfter: seconds(f.StaleAfter), FailOpen: f.FailOpen})
		config.Revocations = follower
	}
	made, err := marque.NewVerifier(config)
	if err != nil {
		return refused(err)
	}
	d.mu.Lock()
	d.verifiers[r.As] = &verifier{made, r, r.Audience, follower}
	d.mu.Unlock()
	return Answer{OK: object{"text": printed(made)}}
}

// revoked are the ids of tokens that have been stopped.
type revoked []string

// Revoked reports whether the token is one of them.
func (r revoked) Revoked(p *marque.Principal) bool { return slices.Contains(r, p.TokenID) }

// Again makes a client or a verifier anew, under its name: for broken drivers.
func (d *Driver) Again(name string) {
	d.mu.Lock()
	c, v := d.clients[name], d.verifiers[name]
	d.mu.Unlock()
	if c != nil {
		d.do(context.Background(), c.made)
	}
	if v != nil {
		d.do(context.Background(), v.made)
	}
}

// trusting is a transport that trusts the authorities in a file.
func trusting(caFile string) *http.Transport {
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(caFile); err == nil {
		roots.AppendCertsFromPEM(pem)
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Twin makes another client of the same settings under another name: for broken
// drivers.
func (d *Driver) Twin(name, as string) {
	d.mu.Lock()
	c := d.clients[name]
	d.mu.Unlock()
	if c != nil {
		made := *c.made
		made.As = as
		d.do(context.Background(), &made)
	}
}

// CancelAll cancels everything that was started: for broken drivers.
func (d *Driver) CancelAll() {
	for _, t := range d.started {
		t.cancel()
	}
}
