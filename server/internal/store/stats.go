package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/marque-id/marque/server/internal/fault"
)

// Stats are figures for metrics.
type Stats struct {
	Accounts         int // in memory
	ResourceServers  int // in memory
	Revocations      int // revoked tokens that have not expired, in memory
	Queue            int // decisions that wait to be recorded
	ConnectionsOpen  int
	ConnectionsInUse int
}

// Stats counts what the store holds right now.
func (s *Store) Stats() Stats {
	st := Stats{Accounts: s.principals.size(), ResourceServers: s.byID.size(), Revocations: s.revocations.size()}
	if s.committer != nil {
		st.Queue = s.committer.Waiting()
	}
	reader := s.engine.reader().Stats()
	st.ConnectionsOpen, st.ConnectionsInUse = reader.OpenConnections, reader.InUse
	if w := s.engine.writer(); w != nil && w != s.engine.reader() {
		writer := w.Stats()
		st.ConnectionsOpen += writer.OpenConnections
		st.ConnectionsInUse += writer.InUse
	}
	return st
}

func (c *snapshots[V]) size() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.ring)
}

// Ping asks the database for a sign of life.
func (s *Store) Ping(ctx context.Context) error {
	return translate(s.engine.reader().PingContext(ctx))
}

// Away reports whether Open has failed since PostgreSQL could not be reached,
// which may pass by itself; a wrong password or setting does not.
func Away(err error) bool {
	failure := translate(err)
	if pg := new(pgconn.PgError); errors.As(err, &pg) { // it was reached, and says why not
		failure = translatePostgres(pg.Code, err)
	}
	f := fault.From(failure)
	return f != nil && f.Kind == fault.KindUnavailable
}

// CheckURL refuses a URL that Open would refuse before it has connected.
func CheckURL(url string) error {
	if !strings.HasPrefix(url, "postgres:") && !strings.HasPrefix(url, "postgresql:") {
		return nil
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("store: the database URL is not valid: %w", err)
	}
	return requirePrivatePath(config)
}
