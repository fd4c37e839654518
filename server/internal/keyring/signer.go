package keyring

import (
	"errors"
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/jose"
)

// errClock is the private cause of refusing to sign.
var errClock = errors.New("keyring: the clock is behind the activation of the signing key")

// ActiveKey is a key that signs tokens, and since when.
type ActiveKey struct {
	*jose.PrivateKey
	Since time.Time

	until  time.Time  // when it retired; zero: it has not
	before *ActiveKey // the one that it took over from, if that is retired
}

// line puts the retired keys behind the active one, newest first.
func (a *ActiveKey) line(retired []*ActiveKey) {
	slices.SortFunc(retired, func(x, y *ActiveKey) int { return y.Since.Compare(x.Since) })
	for at := a; len(retired) > 0; at, retired = at.before, retired[1:] {
		at.before = retired[0]
	}
}

// Signer is the active key of the algorithm.
func (k *Keyring) Signer(alg jose.Algorithm) (*ActiveKey, error) {
	if err := k.Fresh(); err != nil {
		return nil, err
	}
	if key := k.current.Load().signers[alg]; key != nil {
		return key, nil
	}
	return nil, fault.Unavailable(errNoSigner)
}

// SignerAt is the key of the algorithm that signs what is dated then. No key
// signs what is dated before it became active: that would be a forgery to
// whoever knows when it did. A node whose clock lags behind the one that rotated
// uses the key before for those seconds; where there is none, it waits.
func (k *Keyring) SignerAt(alg jose.Algorithm, at time.Time) (*ActiveKey, error) {
	key, err := k.Signer(alg)
	if err != nil {
		return nil, err
	}
	for ; key != nil; key = key.before {
		if at.Unix() < key.Since.Unix() {
			continue
		}
		if key.until.IsZero() || at.Unix() <= key.until.Unix() {
			return key, nil
		}
		break // dated between two keys: the one of that time is revoked
	}
	return nil, fault.Unavailable(errClock)
}

// Algorithm is the one that signs now where the first is wanted: that itself
// once it has an active key, else the one before, else the one that every
// installation has.
func (k *Keyring) Algorithm(wanted, before string) jose.Algorithm {
	signers := k.current.Load().signers
	for _, alg := range [...]jose.Algorithm{jose.Algorithm(wanted), jose.Algorithm(before)} {
		if signers[alg] != nil {
			return alg
		}
	}
	return jose.ES256
}
