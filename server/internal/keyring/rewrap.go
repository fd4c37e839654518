package keyring

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/store"
)

// sealedRow is one row that the master key opens, of either table.
type sealedRow struct {
	purpose Purpose
	id      string
	sealed  store.Sealed
	key     *store.SigningKey // nil for a secret
}

// sealedRows are all of them, signing keys first, each kind in the order of ids.
func sealedRows(ctx context.Context, r *store.Reader) ([]sealedRow, error) {
	keys, err := r.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	secrets, err := r.SealedSecrets(ctx)
	if err != nil {
		return nil, err
	}
	var all []sealedRow
	for i := range keys {
		all = append(all, sealedRow{purposeOf(keys[i].Use), keys[i].ID, keys[i].Private, &keys[i]})
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		all = append(all, sealedRow{PurposeSecret, name, secrets[name], nil})
	}
	return all, nil
}

// Survey is how the sealed rows of a database stand to the master key.
type Survey struct {
	Known      []int       // versions, in rising order
	Used       map[int]int // rows by version
	Unopenable []Unopenable
}

// Unopenable is a row that does not open, revoked keys included.
type Unopenable struct {
	Row     string // its kind and id
	Version int    // that it is sealed under
	Reason  error
}

// Survey opens every sealed row. It writes nothing.
func (m *MasterKeys) Survey(ctx context.Context, st *store.Store) (Survey, error) {
	var rows []sealedRow
	err := st.View(ctx, func(r *store.Reader) (err error) {
		rows, err = sealedRows(ctx, r)
		return err
	})
	if err != nil {
		return Survey{}, err
	}
	s := Survey{Used: map[int]int{}}
	for _, row := range rows {
		s.Used[row.sealed.MasterVersion]++
		if err := m.tryOpen(row); err != nil {
			s.Unopenable = append(s.Unopenable, Unopenable{describe(row.purpose, row.id), row.sealed.MasterVersion, err})
		}
	}
	s.Known = m.Versions()
	return s, nil
}

func (m *MasterKeys) tryOpen(row sealedRow) error {
	if row.key != nil {
		_, err := m.openKey(*row.key)
		return err
	}
	plaintext, err := m.Open(row.purpose, row.id, row.sealed)
	clear(plaintext)
	return err
}

// Rows counts the sealed rows.
func (s *Survey) Rows() int {
	n := 0
	for _, rows := range s.Used {
		n += rows
	}
	return n
}

// Below counts the rows under an older version.
func (s *Survey) Below(version int) int {
	n := 0
	for v, rows := range s.Used {
		if v < version {
			n += rows
		}
	}
	return n
}

// Idle are the known versions, but for the newest, that no row is sealed under.
func (s *Survey) Idle() []int {
	var idle []int
	for _, v := range s.Known[:max(0, len(s.Known)-1)] {
		if s.Used[v] == 0 {
			idle = append(idle, v)
		}
	}
	return idle
}

// Wanted are the versions that rows are sealed under, in rising order.
func (s *Survey) Wanted() []int { return slices.Sorted(maps.Keys(s.Used)) }

// OnlyNewest are the same keys without all older versions: with them it shows
// that the old ones are not needed.
func (m *MasterKeys) OnlyNewest() *MasterKeys {
	only, _ := ParseMasterKeys(GenerateMasterKey(m.Newest())) // well formed by its making
	only.versions[only.newest] = m.version(only.newest)
	return only
}

// rewrapBatch is how many rows one transaction wraps: it holds up other writers
// for a few milliseconds at most.
const rewrapBatch = 50

// Rewrapped is what a rotation has done.
type Rewrapped struct {
	Rows int
	From []int // versions
	To   int
}

// Rewrap wraps the data key of every row that is sealed under an older version
// with the newest one. Ciphertexts stay as they are, so no key changes, and no
// node is told: what it has in memory is still right.
//
// Each transaction is whole and has its own event. A crash between two leaves
// rows under both versions, which is fine as long as the file has both; the
// next run goes on with what is left.
func (m *MasterKeys) Rewrap(ctx context.Context, st *store.Store) (done Rewrapped, err error) {
	done.To = m.Newest()
	for {
		var batch Rewrapped
		err := st.Rewrap(ctx, func(w *store.Rewrapping) (err error) {
			batch, err = m.rewrapSome(ctx, w, done.To)
			return err
		})
		if err != nil {
			return done, err
		}
		if batch.Rows == 0 {
			return done, nil
		}
		done.Rows += batch.Rows
		done.From = slices.Compact(slices.Sorted(slices.Values(append(done.From, batch.From...))))
	}
}

func (m *MasterKeys) rewrapSome(ctx context.Context, w *store.Rewrapping, to int) (done Rewrapped, err error) {
	rows, err := sealedRows(ctx, w.Reader)
	if err != nil {
		return done, err
	}
	if err := m.agree(ctx, w.Reader); err != nil {
		return done, err
	}
	from := map[int]bool{}
	for _, row := range rows {
		if row.sealed.MasterVersion > to {
			return done, fmt.Errorf("%s is sealed under version %d of the master key, which is newer than version %d here",
				describe(row.purpose, row.id), row.sealed.MasterVersion, to)
		}
		if row.sealed.MasterVersion == to || done.Rows == rewrapBatch {
			continue
		}
		wrapped, err := m.rewrap(row.purpose, row.id, row.sealed, to)
		if err != nil {
			return done, err
		}
		if row.key != nil {
			err = w.SigningKey(ctx, row.id, row.sealed.MasterVersion, wrapped)
		} else {
			err = w.SealedSecret(ctx, row.id, row.sealed.MasterVersion, wrapped)
		}
		if err != nil {
			return done, err
		}
		from[row.sealed.MasterVersion] = true
		done.Rows++
	}
	if done.Rows == 0 {
		return done, nil
	}
	done.From = slices.Sorted(maps.Keys(from))
	w.Audit(audit.Event{
		Type: audit.MasterKeyRotated, Outcome: audit.Success, Actor: audit.ActorSystem,
		Details: map[string]string{"from": joined(done.From), "to": strconv.Itoa(to), "rows": strconv.Itoa(done.Rows)},
	})
	return done, nil
}

func joined(versions []int) string {
	var words []string
	for _, v := range versions {
		words = append(words, strconv.Itoa(v))
	}
	return strings.Join(words, " ")
}
