package store_test

import (
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// What PostgreSQL does is set at many places: for the server, the database, and
// the session. Each alone is enough to be refused, on a server that is started
// with it; what waits for a standby as well is welcome.
func TestPostgreSQLThatWouldLoseCommitsIsRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cluster := testkit.PostgresCluster(t)
	url, err := cluster.Database(ctx)
	if err != nil {
		t.Fatal(err)
	}
	do := func(statement string) {
		t.Helper()
		if err := cluster.Exec(ctx, url, statement); err != nil {
			t.Fatal(err)
		}
	}
	do("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
	latin := strings.Replace(url, "marque_1", "latin", 1)
	withOption := func(option string) string { return url + "&options=-c%20" + option }

	restart := func() {
		t.Helper()
		cluster.Crash()
		if err := cluster.Resume(ctx); err != nil {
			t.Fatal(err)
		}
	}
	check := func(name, url, refusal string) {
		t.Helper()
		s, err := store.Open(ctx, store.Options{URL: url, Clock: testkit.Clock(t), MaxConns: 2})
		if err == nil {
			err = s.Close(ctx)
		}
		switch {
		case refusal == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case refusal != "" && (err == nil || !strings.Contains(err.Error(), refusal)):
			t.Errorf("%s: error is %v, want %q", name, err, refusal)
		}
	}
	const commitOff, fsyncOff, pagesOff = "has synchronous_commit = off: it would lose acknowledged commits",
		"has fsync = off: it would lose acknowledged commits", "has full_page_writes = off: a power cut could damage it"
	check("as it is", url, "")
	check("another encoding", latin, "encoded in LATIN1; it must be UTF8")
	for mode, refusal := range map[string]string{"off": commitOff, "local": "", "on": "", "remote_write": "", "remote_apply": ""} {
		check("for the session "+mode, withOption("synchronous_commit%3D"+mode), refusal)
	}
	// Two of these are the server's alone: it is stopped and started again with them.
	for setting, refusal := range map[string]string{"fsync": fsyncOff, "full_page_writes": pagesOff, "synchronous_commit": commitOff} {
		do("ALTER SYSTEM SET " + setting + " = off")
		restart()
		check(setting, url, refusal)
		do("ALTER SYSTEM RESET " + setting)
	}
	restart()
	check("as it was", url, "")

	// A pool opens connections later as well; the follower's has none yet.
	s, err := store.Open(ctx, store.Options{URL: url, Clock: testkit.Clock(t), MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(ctx) }()
	do("ALTER DATABASE marque_1 SET synchronous_commit = off")
	if err := s.PingFollower(ctx); err == nil || !strings.Contains(err.Error(), commitOff) {
		t.Errorf("the connection of the follower: error is %v", err)
	}
}
