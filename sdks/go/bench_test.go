package marque

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A token out of memory: the cost of every request that a client makes.
func BenchmarkCachedToken(b *testing.B) {
	client, _ := newTestClient(b, newEndpoint(900), func(c *Config) { c.Clock = nil })
	source := client.TokenSource("https://api.example.com")
	if _, err := source.Token(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := source.Token(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// A token that has been verified before.
func BenchmarkVerifyAgain(b *testing.B) {
	key := newES256(b, "k")
	i := newIssuer(key)
	v, token := i.verifier(b), i.token(key, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token, testAudience, "invoices:read"); err != nil {
			b.Fatal(err)
		}
	}
}

// The same a hundred times with a follower that holds 100,000 revocations, and by
// turns without one. What the look at them costs is follow-ns.
func BenchmarkVerifyAgainFollowing(b *testing.B) {
	key := newES256(b, "k")
	i := newIssuer(key)
	client, _ := newTestClient(b, i)
	followed := &Follower{client: client, config: FollowConfig{StaleAfter: defaultStaleAfter}}
	set := newRevokedSet()
	for n := range 100_000 {
		set.add(n%revokedKinds, fmt.Sprintf("tok_%026d", n), revokedThing{gen: 1, ends: i.clock.Now().Unix() + 900})
	}
	followed.revoked.Store(set)
	followed.hear(i.clock.Now())
	with, without := i.verifier(b, func(c *VerifierConfig) { c.Revocations = followed }), i.verifier(b)
	token := i.token(key, nil)
	// The best of many short runs of each, so that what else the machine does counts little.
	const runs = 100
	best := [2]time.Duration{time.Hour, time.Hour}
	b.ReportAllocs()
	for b.Loop() {
		for n, v := range [...]*Verifier{without, with} {
			began := time.Now()
			for range runs {
				if _, err := v.Verify(b.Context(), token, testAudience, "invoices:read"); err != nil {
					b.Fatal(err)
				}
			}
			best[n] = min(best[n], time.Since(began))
		}
	}
	b.ReportMetric(float64(best[0].Nanoseconds())/runs, "without-ns")
	b.ReportMetric(float64(best[1].Nanoseconds())/runs, "with-ns")
	b.ReportMetric(float64((best[1]-best[0]).Nanoseconds())/runs, "follow-ns")
}

// A token that is seen for the first time, and by turns the one thing that
// cannot be left out: SHA-256 and ECDSA over what was signed. What the SDK adds
// to that is overhead-%.
func BenchmarkVerify(b *testing.B) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	key := newES256(b, "k")
	i := newIssuer(key)
	v, token := i.verifier(b, func(c *VerifierConfig) { c.CacheSize = -1 }), i.token(key, nil)
	signed := []byte(token[:strings.LastIndexByte(token, '.')])
	digest := sha256.Sum256(signed)
	signature, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	// By turns, so that whatever else the machine does falls on both alike.
	var ours, raw time.Duration
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		if _, err := v.Verify(b.Context(), token, testAudience, "invoices:read"); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		digest := sha256.Sum256(signed)
		if !ecdsa.VerifyASN1(&private.PublicKey, digest[:], signature) {
			b.Fatal("the signature does not verify")
		}
		ours, raw = ours+middle.Sub(began), raw+time.Since(middle)
	}
	b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "verify-ns/op")
	b.ReportMetric(float64(raw.Nanoseconds())/float64(b.N), "raw-ns/op")
	b.ReportMetric(100*(float64(ours)/float64(raw)-1), "overhead-%")
}
