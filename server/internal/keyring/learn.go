package keyring

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/marque-id/marque/server/internal/store"
)

// A master key may be rotated while nodes run. This is how one that runs learns
// of a new version: when a row wants it, the file is read again. Nothing watches
// the file, and a file that is gone or broken harms no version that is known.

// errUnknownVersion is what the messages about a missing version have in common.
type errUnknownVersion struct {
	version int
	known   string
	where   string // the file; empty for the environment
	reread  error
}

func (e *errUnknownVersion) Error() string {
	where := "MARQUE_MASTER_KEY"
	if e.where != "" {
		where = e.where
	}
	text := fmt.Sprintf("version %d of the master key, which is not among the known ones (%s): add its line, v%d:…, to %s", e.version, e.known, e.version, where)
	if e.reread != nil {
		text += fmt.Sprintf(" (it could not be read again: %v)", e.reread)
	}
	return text
}

// find is a version, by reading the file again if need be.
func (m *MasterKeys) find(version int) (*masterKey, error) {
	if master := m.version(version); master != nil {
		return master, nil
	}
	err := m.reread()
	if master := m.version(version); master != nil {
		return master, nil
	}
	return nil, &errUnknownVersion{version, m.list(), m.path, err}
}

// reread adds the versions that have come to the file. None is forgotten: what
// is no longer there was found to be needed by no row. A known version whose
// key is another one now is an error, and nothing is taken from such a file.
func (m *MasterKeys) reread() error {
	if m.path == "" {
		return nil
	}
	now, err := LoadMasterKeys(m.path)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for version, key := range now.versions {
		if known := m.versions[version]; known != nil && known.sum != key.sum {
			return fmt.Errorf("version %d of the master key in %s is not the one that this process started with", version, m.path)
		}
	}
	for version, key := range now.versions {
		m.versions[version] = key
		m.newest = max(m.newest, version)
	}
	return nil
}

const inUseTimeout = 2 * time.Second

// attend ties the keys to the database whose version they are to seal under,
// and to a log.
func (m *MasterKeys) attend(st *store.Store, log *slog.Logger) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = log
	m.inUse = func() (version int, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), inUseTimeout)
		defer cancel()
		err = st.View(ctx, func(r *store.Reader) (err error) {
			version, err = r.MasterVersion(ctx)
			return err
		})
		return version, err
	}
}

// agree is an error unless the rows that are sealed under the newest version in
// the database open with the key of that number here. It is for transactions
// that are about to seal: where two nodes have been given different keys under
// one number, the second one to use it must not, or no file would open both.
func (m *MasterKeys) agree(ctx context.Context, r *store.Reader) error {
	newest, err := r.MasterVersion(ctx)
	if err != nil {
		return err
	}
	rows, err := sealedRows(ctx, r)
	if err != nil {
		return err
	}
	var problems []error
	for _, row := range rows {
		if row.sealed.MasterVersion == newest {
			dataKey, err := m.unwrap(row.purpose, row.id, row.sealed)
			clear(dataKey)
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// handleOf names a ciphertext at its place.
func handleOf(purpose Purpose, id string, ciphertext []byte) [sha256.Size]byte {
	return sha256.Sum256(appendContext(nil, string(purpose), id, string(ciphertext)))
}

func (m *MasterKeys) known(handle [sha256.Size]byte) cipher.AEAD {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.opened[handle]
}

func (m *MasterKeys) remember(handle [sha256.Size]byte, dataKey cipher.AEAD) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened[handle] = dataKey
}

// warnOnce tells the operator of a node that would not start again.
func (m *MasterKeys) warnOnce(version int, cause error) {
	m.mu.Lock()
	told := m.missed[version]
	m.missed[version] = true
	log := m.log
	m.mu.Unlock()
	if !told {
		log.Warn("the master key was rotated and this node lacks the new version: it goes on with the keys in memory, but would not start again",
			slog.Int("version", version), slog.Any("error", cause))
	}
}
