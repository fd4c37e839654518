package keyring

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/marque-id/marque/server/internal/store"
)

// Purpose tells what a sealed value is for. It is authenticated with the value,
// so that no value can be put to another use.
type Purpose string

// The purposes.
const (
	PurposeToken  Purpose = "token"  // private key that signs tokens
	PurposeAudit  Purpose = "audit"  // private key that signs audit checkpoints
	PurposeSecret Purpose = "secret" // a sealed secret by name, such as the pepper
)

const dataKeySize = 32

// Seal encrypts under a fresh data key, and the data key under the master key,
// both with AES-256-GCM. The purpose and the row's id are additional data of
// both: a row copied over another does not open. Rotating the master key wraps
// the data key anew and leaves the ciphertext alone.
func (m *MasterKeys) Seal(purpose Purpose, id string, plaintext []byte) (store.Sealed, error) {
	version, master, err := m.sealing()
	if err != nil {
		return store.Sealed{}, err
	}
	var dataKey [dataKeySize]byte
	_, _ = rand.Read(dataKey[:]) // never fails: crypto/rand stops the process instead
	defer clear(dataKey[:])
	aead, err := newAEAD(dataKey[:])
	if err != nil {
		return store.Sealed{}, err
	}
	return store.Sealed{
		MasterVersion: version,
		WrappedKey:    master.Seal(nil, nil, dataKey[:], wrapContext(purpose, id, version)),
		Ciphertext:    aead.Seal(nil, nil, plaintext, valueContext(purpose, id)),
	}, nil
}

// sealing is the version that seals. A newer one that is known already waits:
// other nodes may not have it before the rotation begins to wrap.
func (m *MasterKeys) sealing() (int, *masterKey, error) {
	version := 0
	if m.inUse != nil {
		var err error
		if version, err = m.inUse(); err != nil {
			return 0, nil, err
		}
	}
	if version == 0 {
		version = m.Newest()
	}
	master, err := m.find(version)
	if err != nil {
		return 0, nil, fmt.Errorf("the database is sealed under %w", err)
	}
	return version, master, nil
}

// Open decrypts what Seal made for the same purpose and id. Its errors say
// which version of the master key is wanted.
//
// What this process has opened once it opens again even when the data key is
// wrapped anew under a version that it cannot learn: a node with an old copy of
// the file goes on serving, though it would not start again.
func (m *MasterKeys) Open(purpose Purpose, id string, v store.Sealed) ([]byte, error) {
	handle := handleOf(purpose, id, v.Ciphertext)
	aead, err := m.unwrapped(purpose, id, v)
	if err != nil {
		known := m.known(handle)
		if known == nil || m.version(v.MasterVersion) != nil {
			return nil, err
		}
		m.warnOnce(v.MasterVersion, err)
		aead = known
	}
	plaintext, err := aead.Open(nil, nil, v.Ciphertext, valueContext(purpose, id))
	if err != nil {
		return nil, fmt.Errorf("the stored form of %s was altered: restore the row from a backup", describe(purpose, id))
	}
	m.remember(handle, aead)
	return plaintext, nil
}

// unwrapped is the cipher of the row's data key.
func (m *MasterKeys) unwrapped(purpose Purpose, id string, v store.Sealed) (cipher.AEAD, error) {
	dataKey, err := m.unwrap(purpose, id, v)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	return newAEAD(dataKey)
}

func (m *MasterKeys) unwrap(purpose Purpose, id string, v store.Sealed) ([]byte, error) {
	master, err := m.find(v.MasterVersion)
	if err != nil {
		return nil, fmt.Errorf("%s is sealed under %w", describe(purpose, id), err)
	}
	dataKey, err := master.Open(nil, nil, v.WrappedKey, wrapContext(purpose, id, v.MasterVersion))
	if err != nil || len(dataKey) != dataKeySize {
		return nil, fmt.Errorf("version %d of the master key does not open %s: either it is not the key of this database, or the row was altered; "+
			"restore the master key that belongs to this database, or the row from a backup", v.MasterVersion, describe(purpose, id))
	}
	return dataKey, nil
}

// rewrap wraps the data key under another version and leaves the ciphertext alone.
func (m *MasterKeys) rewrap(purpose Purpose, id string, v store.Sealed, to int) (store.Sealed, error) {
	dataKey, err := m.unwrap(purpose, id, v)
	if err != nil {
		return store.Sealed{}, err
	}
	defer clear(dataKey)
	master, err := m.find(to)
	if err != nil {
		return store.Sealed{}, fmt.Errorf("nothing can be sealed under %w", err)
	}
	v.MasterVersion, v.WrappedKey = to, master.Seal(nil, nil, dataKey, wrapContext(purpose, id, to))
	return v, nil
}

// wrapContext and valueContext differ in their first word, so that a wrapped
// key never passes for a value.
func wrapContext(purpose Purpose, id string, version int) []byte {
	b := appendContext(nil, "marque/envelope/key", string(purpose), id)
	return binary.BigEndian.AppendUint64(b, uint64(version))
}

func valueContext(purpose Purpose, id string) []byte {
	return appendContext(nil, "marque/envelope/value", string(purpose), id)
}

// appendContext puts the length before each part: no two lists of parts give
// the same bytes.
func appendContext(b []byte, parts ...string) []byte {
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

func describe(purpose Purpose, id string) string {
	if purpose == PurposeSecret {
		return "the sealed secret " + id
	}
	return "the signing key " + id
}

// list names the known versions, for messages.
func (m *MasterKeys) list() string {
	var names []string
	for _, v := range m.Versions() {
		names = append(names, fmt.Sprintf("v%d", v))
	}
	return strings.Join(names, ", ")
}
