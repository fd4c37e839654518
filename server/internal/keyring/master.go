package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	masterKeySize    = 32
	masterKeyMaxFile = 16 << 10
)

// MasterKeys are all versions of the master key that this process knows. What
// is opened names its version; what is sealed is sealed under the version that
// the database has come to, or under the newest where nothing is sealed yet.
// They are never stored in the database, and nothing prints them.
//
// They may be used by many goroutines, and may become more while the process
// runs: see [MasterKeys.reread].
type MasterKeys struct {
	path string // of the file they come from; empty for the environment

	mu       sync.RWMutex
	versions map[int]*masterKey
	newest   int
	opened   map[[sha256.Size]byte]cipher.AEAD // data keys by what they have opened
	missed   map[int]bool                      // versions that a row wanted and nobody knew
	inUse    func() (int, error)               // the highest version in the database; nil: nothing is there
	log      *slog.Logger
}

// masterKey is one version.
type masterKey struct {
	cipher.AEAD
	sum [sha256.Size]byte // tells two keys apart that have one number
}

// GenerateMasterKey makes a master key of the given version as the line of a
// master key file, "v1:" and 32 random bytes in base64, without a line end.
func GenerateMasterKey(version int) string {
	var key [masterKeySize]byte
	_, _ = rand.Read(key[:]) // never fails: crypto/rand stops the process instead
	return "v" + strconv.Itoa(version) + ":" + base64.StdEncoding.EncodeToString(key[:])
}

// LoadMasterKeys reads a master key file. A file that its group or others may
// read is refused: the permissions are those of the opened file, so that it
// cannot be swapped between the check and the reading.
func LoadMasterKeys(path string) (*MasterKeys, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no master key file %s: restore it, or for a new installation run: marque master-key generate", path)
	}
	if err != nil {
		return nil, fmt.Errorf("the master key file cannot be read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("the master key file cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the master key file %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("the master key file %s may be read by others than its owner (mode %04o); run: chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, masterKeyMaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("the master key file cannot be read: %w", err)
	}
	keys, err := ParseMasterKeys(string(text))
	if err != nil {
		return nil, fmt.Errorf("the master key file %s: %w", path, err)
	}
	keys.path = path
	return keys, nil
}

// ParseMasterKeys reads the content of a master key file, or the value of
// MARQUE_MASTER_KEY: one "v<version>:<base64 of 32 bytes>" a line, empty lines
// and lines that begin with # left out. In an environment value a comma may
// stand for the line end. Errors name a line, never its content.
func ParseMasterKeys(text string) (*MasterKeys, error) {
	if len(text) > masterKeyMaxFile {
		return nil, fmt.Errorf("longer than %d bytes", masterKeyMaxFile)
	}
	m := &MasterKeys{
		versions: make(map[int]*masterKey), opened: make(map[[sha256.Size]byte]cipher.AEAD), missed: make(map[int]bool),
		log: slog.New(slog.DiscardHandler),
	}
	n := 0
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == ',' }) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		version, key, err := parseMasterKey(line)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", n, err)
		}
		if m.versions[version] != nil {
			return nil, fmt.Errorf("entry %d: version %d is there twice", n, version)
		}
		m.versions[version] = key
		m.newest = max(m.newest, version)
	}
	if m.newest == 0 {
		return nil, errors.New("no master key in it: expected a line such as v1:<base64 of 32 bytes>")
	}
	return m, nil
}

var errMasterKeyForm = errors.New("expected v<version>:<base64 of 32 bytes>")

func parseMasterKey(line string) (version int, key *masterKey, err error) {
	head, encoded, ok := strings.Cut(line, ":")
	digits, isVersion := strings.CutPrefix(head, "v")
	if !ok || !isVersion {
		return 0, nil, errMasterKeyForm
	}
	version, err = strconv.Atoi(digits)
	if err != nil || version < 1 || strconv.Itoa(version) != digits {
		return 0, nil, errMasterKeyForm
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) != masterKeySize {
		return 0, nil, errMasterKeyForm
	}
	defer clear(raw)
	if allEqual(raw) {
		return 0, nil, errors.New("the key is one byte repeated: generate one with: marque master-key generate")
	}
	aead, err := newAEAD(raw)
	return version, &masterKey{aead, sha256.Sum256(raw)}, err
}

func allEqual(b []byte) bool {
	for _, c := range b {
		if c != b[0] {
			return false
		}
	}
	return true
}

// Versions are the known versions, in rising order.
func (m *MasterKeys) Versions() []int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Sorted(maps.Keys(m.versions))
}

// Newest is the highest known version: the one to which a rotation leads.
func (m *MasterKeys) Newest() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.newest
}

// version is nil for one that is not known.
func (m *MasterKeys) version(n int) *masterKey {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.versions[n]
}

// String and GoString hide the keys.
func (m *MasterKeys) String() string { return fmt.Sprintf("master key versions %v", m.Versions()) }

// GoString hides the keys in %#v.
func (m *MasterKeys) GoString() string { return m.String() }

// newAEAD is AES-256-GCM that makes its own random nonce and puts it in front.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
