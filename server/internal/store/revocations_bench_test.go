package store_test

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/testkit"
)

// manyRevocations is how many live revocations a node must bear.
const manyRevocations = 10_000_000

// BenchmarkTenMillionRevocations measures what it costs to hold them: bytes each,
// one look, the longest pause of the garbage collector. Targets: 40 B, 300 ns.
func BenchmarkTenMillionRevocations(b *testing.B) {
	s := testkit.Open(b, testkit.SQLite(b), clock.System())
	expiry := clock.System().Now().Add(time.Hour).Unix()
	var some []string
	before := heap()
	for i := range manyRevocations {
		jti := identity.NewID(identity.PrefixToken, clock.System().Now())
		if i%1000 == 0 {
			some = append(some, jti)
		}
		if !s.AddRevokedID(jti, expiry, "https://invoices.example.com") {
			b.Fatal(jti)
		}
	}
	held := heap() - before
	const looks = 10_000_000
	for b.Loop() {
		for n := range looks {
			if !s.TokenRevoked(some[n%len(some)]) {
				b.Fatal("it is not revoked")
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/looks, "ns/look")
	b.ReportMetric(float64(held)/manyRevocations, "B/revocation")
	runtime.GC()
	var pauses debug.GCStats
	debug.ReadGCStats(&pauses)
	b.ReportMetric(float64(pauses.Pause[0].Microseconds()), "µs/GC-pause")
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkLoadTenMillionRevocations measures what a start waits for. Target: 20 s.
func BenchmarkLoadTenMillionRevocations(b *testing.B) {
	s := testkit.Open(b, testkit.SQLite(b), clock.System())
	const together = 5000
	args := make([]any, 0, 2*together)
	query := "INSERT INTO token_revocations (token_id, service_account_id, revoked_at, expires_at, audience) VALUES " +
		strings.TrimSuffix(strings.Repeat("(?, 'sa_x', 1, ?, 'https://invoices.example.com'), ", together), ", ")
	expiry := clock.System().Now().Add(24 * time.Hour).UnixMicro()
	for range manyRevocations / together {
		args = args[:0]
		for range together {
			args = append(args, identity.NewID(identity.PrefixToken, clock.System().Now()), expiry)
		}
		if _, err := s.Writer().DB.ExecContext(b.Context(), query, args...); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		s.ForgetRevoked()
		if err := s.LoadRevoked(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if got := s.Stats().Revocations; got != manyRevocations {
		b.Fatalf("%d are in memory", got)
	}
}
