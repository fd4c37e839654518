package store_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// bun writes values into its texts: prepared, each would stay with the server.
func TestNothingIsPreparedForTextsThatDiffer(t *testing.T) {
	t.Parallel()
	s := testkit.OpenWith(t, store.Options{URL: testkit.Postgres(t), Clock: clock.System(), MaxConns: 1})
	prepared := func() int {
		_, n, err := s.Sum(t.Context(), "SELECT name FROM pg_prepared_statements")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := prepared()
	for i := range 20 {
		view(t, s, func(r *store.Reader) error {
			_, _, err := r.ServiceAccounts(t.Context(), store.AccountFilter{NamePrefix: "n" + strconv.Itoa(i)}, store.Page{Size: 5})
			return err
		})
	}
	if after := prepared(); after > before+1 {
		t.Errorf("%d texts were prepared", after-before)
	}
}

// bun quotes as the standard says. Where a backslash escapes, a text could end its
// literal early: each connection sets how it is read.
func TestABackslashIsABackslashWhateverTheDatabaseSays(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	s := testkit.Open(t, url, clock.System())
	name := url[strings.Index(url, "@/")+2 : strings.Index(url, "?")]
	if err := s.Exec(t.Context(), "ALTER DATABASE "+name+" SET standard_conforming_strings = off"); err != nil {
		t.Fatal(err)
	}
	s = testkit.Open(t, url, clock.System())
	a := account("escaped")
	a.Description = `a\' , b \\ '' c`
	a.Owner = `\', 'x`
	if err := tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), a) }); err != nil {
		t.Fatal(err)
	}
	view(t, s, func(r *store.Reader) error {
		got, err := r.ServiceAccount(t.Context(), a.ID)
		if err == nil && (got.Description != a.Description || got.Owner != a.Owner) {
			t.Errorf("%q %q", got.Description, got.Owner)
		}
		return err
	})
}
