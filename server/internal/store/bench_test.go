package store_test

import (
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func benchmarkBoth(b *testing.B, fn func(b *testing.B, s *store.Store)) {
	b.Run("sqlite", func(b *testing.B) { fn(b, testkit.Open(b, testkit.SQLite(b), clock.System())) })
	b.Run("postgres", func(b *testing.B) { fn(b, testkit.Open(b, testkit.Postgres(b), clock.System())) })
}

func BenchmarkBatchOf256(b *testing.B) {
	benchmarkBoth(b, func(b *testing.B, s *store.Store) {
		batch, outcomes := make([]*store.Issuance, 256), make([]error, 256)
		for i := range batch {
			batch[i] = &store.Issuance{Event: issued(), AccountID: "sa_x", Snapshot: s.Snapshot()}
			batch[i].Event.At = clock.System().Now()
		}
		for b.Loop() {
			if err := s.CommitBatch(b.Context(), batch, outcomes); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

func BenchmarkPrincipalInMemory(b *testing.B) {
	benchmarkBoth(b, func(b *testing.B, s *store.Store) {
		a := newAccount(b, s, "cached")
		for b.Loop() {
			if _, err := s.Principal(b.Context(), a.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTokenRevoked(b *testing.B) {
	benchmarkBoth(b, func(b *testing.B, s *store.Store) {
		jti := identity.NewID(identity.PrefixToken, testkit.Start())
		for b.Loop() {
			s.TokenRevoked(jti)
		}
	})
}

// BenchmarkPrincipalFromTheDatabase is what an account costs that is not in memory.
func BenchmarkPrincipalFromTheDatabase(b *testing.B) {
	benchmarkBoth(b, func(b *testing.B, s *store.Store) {
		a := newAccount(b, s, "read")
		newSecret(b, s, a.ID)
		_, role := newAPI(b, s, "invoices", "invoices:read", "invoices:write")
		assign(b, s, a.ID, role.ID, time.Time{})
		for b.Loop() {
			p, err := s.LoadPrincipal(b.Context(), a.ID)
			if err != nil {
				b.Fatal(err)
			}
			if len(p.Secrets) != 1 || len(p.Grants) != 1 {
				b.Fatalf("read %d secrets, %d grants", len(p.Secrets), len(p.Grants))
			}
		}
	})
}
