// Package keyring holds the keys of this installation: the key pairs that sign
// tokens and audit checkpoints, and the pepper under which client secrets are
// stored. At rest all of them are sealed under the master key; in memory they
// are one immutable snapshot, so that no token costs a read or a decryption.
package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
)

// Keyring gives out keys. It may be used by many goroutines.
type Keyring struct {
	store  *store.Store
	master *MasterKeys
	clock  clock.Clock
	log    *slog.Logger
	policy Policy

	current atomic.Pointer[snapshot]

	// loading lets one caller load at a time, so that an older reading never
	// replaces a newer one.
	loading sync.Mutex
	// owed is set when an announced change could not be loaded. Until it has
	// been, no key is given out: one of them may be revoked. While the first
	// try runs the keys go on serving, or every rotation would be felt.
	owed      atomic.Bool
	nextRetry time.Time // guarded by loading
}

const (
	retryEvery   = 500 * time.Millisecond
	retryTimeout = time.Second
)

// Open loads the keys and follows their changes; the store need not be started
// yet. It fails when the master key does not open what is stored. A new database has
// no keys yet: [Keyring.Bootstrap] makes them.
func Open(ctx context.Context, st *store.Store, mk *MasterKeys, clk clock.Clock, log *slog.Logger) (*Keyring, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	k := &Keyring{store: st, master: mk, clock: clk, log: log, policy: DefaultPolicy()}
	mk.attend(st, log)
	// Listening comes before reading: a change in between is loaded twice, not
	// missed.
	st.OnChange(store.ChangedSigningKey, k.follow)
	if err := k.Reload(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// Reload reads all keys anew and swaps the snapshot. When it fails the old
// snapshot stays.
func (k *Keyring) Reload(ctx context.Context) error {
	k.loading.Lock()
	defer k.loading.Unlock()
	return k.reload(ctx)
}

func (k *Keyring) reload(ctx context.Context) error {
	var rows []store.SigningKey
	var secrets map[string]store.Sealed
	err := k.store.View(ctx, func(r *store.Reader) (err error) {
		if rows, err = r.SigningKeys(ctx); err != nil {
			return err
		}
		secrets, err = r.SealedSecrets(ctx)
		return err
	})
	if err != nil {
		return err
	}
	now := k.clock.Now()
	rows = slices.DeleteFunc(rows, func(r store.SigningKey) bool { return r.Use == store.KeyUseToken && withdrawn(&r, now) })
	s, err := k.master.openAll(rows, secrets)
	if err != nil {
		return err
	}
	k.current.Store(s)
	k.owed.Store(false)
	return nil
}

// follow is called by the store for each change of a signing key, on the node
// that wrote it before InTx returns, and with an empty id when any may have
// changed. It takes its own time limit: a silent database must not hold up the
// reading of other changes.
func (k *Keyring) follow(ctx context.Context, id string) {
	k.loading.Lock()
	defer k.loading.Unlock()
	ctx, cancel := context.WithTimeout(ctx, retryTimeout)
	defer cancel()
	if err := k.reload(ctx); err != nil {
		k.owed.Store(true)
		k.nextRetry = k.clock.Now().Add(retryEvery)
		k.log.LogAttrs(ctx, slog.LevelError, "keys could not be reloaded; none is used until they are",
			slog.String("signing_key", id), slog.Any("error", err))
	}
}

// Fresh is Unavailable while an announced change of the keys could not be
// loaded. It tries to load it, at most twice a second and one caller at a time.
func (k *Keyring) Fresh() error {
	if !k.owed.Load() {
		return nil
	}
	if !k.loading.TryLock() {
		return fault.Unavailable(errOwed)
	}
	defer k.loading.Unlock()
	if !k.owed.Load() {
		return nil
	}
	if k.clock.Now().Before(k.nextRetry) {
		return fault.Unavailable(errOwed)
	}
	ctx, cancel := context.WithTimeout(context.Background(), retryTimeout)
	defer cancel()
	if err := k.reload(ctx); err != nil {
		k.nextRetry = k.clock.Now().Add(retryEvery)
		return fault.Unavailable(err)
	}
	return nil
}

// PublicKey finds a published key of tokens: prepared, active or retired. It is
// nil for any other kid, for a revoked key, and while Fresh is not nil.
func (k *Keyring) PublicKey(kid string) *jose.PublicKey {
	if k.Fresh() != nil {
		return nil
	}
	return k.current.Load().public[kid]
}

// JWKS is the published key set (RFC 7517 section 5) and its entity tag, quotes
// included. The bytes are shared: do not write to them.
func (k *Keyring) JWKS() (body []byte, etag string) {
	s := k.current.Load()
	return s.jwks, s.etag
}

// SecretMAC is HMAC-SHA-256 of the text under the pepper: the form in which a
// client secret is stored and compared. It must not be called before Bootstrap
// has returned, since a MAC under no pepper would be stored for good.
func (k *Keyring) SecretMAC(text string) [32]byte {
	p := k.current.Load().pepper
	if p == nil {
		panic("keyring: SecretMAC before Bootstrap")
	}
	return p.mac(text)
}

// Policy is how long the steps in the life of a key take.
func (k *Keyring) Policy() Policy { return k.policy }

// SetPolicy replaces the default one. It is for whoever has just opened the
// keyring: it must not be called once others use it.
func (k *Keyring) SetPolicy(p Policy) { k.policy = p }

// withdraw takes retired keys out of the snapshot whose time is over. It needs
// no database.
func (k *Keyring) withdraw() {
	k.loading.Lock()
	defer k.loading.Unlock()
	s := k.current.Load()
	if next := s.without(k.clock.Now()); next != s {
		k.current.Store(next)
	}
}

// Algorithms are those of the published keys.
func (k *Keyring) Algorithms() []string { return k.current.Load().algorithms }

// Uses reports whether the algorithm has keys of tokens; once it has, it keeps
// some.
func (k *Keyring) Uses(alg string) bool { return k.current.Load().uses(jose.Algorithm(alg)) }

// CheckpointSigner is the key that signs audit checkpoints; it never signs
// tokens and is not in the key set.
func (k *Keyring) CheckpointSigner() (*jose.PrivateKey, error) {
	if err := k.Fresh(); err != nil {
		return nil, err
	}
	if key := k.current.Load().checkpoint; key != nil {
		return key, nil
	}
	return nil, fault.Unavailable(errNoSigner)
}

// CheckpointKeys are the keys by which stored checkpoints verify, by kid:
// active and retired ones. Do not write to the map.
func (k *Keyring) CheckpointKeys() map[string]*jose.PublicKey {
	return k.current.Load().checkpointKeys
}

// pepper keeps the state of HMAC after the key has gone in, one for each
// goroutine that needs it at the same time.
type pepper struct{ states sync.Pool }

func newPepper(key []byte) *pepper {
	return &pepper{sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

func (p *pepper) mac(text string) (sum [32]byte) {
	h := p.states.Get().(hash.Hash)
	defer p.states.Put(h)
	h.Reset()
	h.Write([]byte(text))
	h.Sum(sum[:0])
	return sum
}
