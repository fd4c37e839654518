package keyring

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
)

// snapshot is all keys at one moment. It is never written to once it is stored.
type snapshot struct {
	signers map[jose.Algorithm]*ActiveKey // of each algorithm
	public  map[string]*jose.PublicKey    // published keys of tokens
	pairs   map[jose.Algorithm]pair       // without their private parts

	published  []store.SigningKey // in the order of the key set, without their private parts
	jwks       []byte
	etag       string
	algorithms []string // of the published keys

	checkpoint     *jose.PrivateKey
	checkpointKeys map[string]*jose.PublicKey

	pepper *pepper // nil before Bootstrap
}

// openAll decrypts every key that is not revoked and checks that its two halves
// belong together. Rows come in the order of their ids, which is that of their
// making, so that the key set is the same on every node.
func (m *MasterKeys) openAll(rows []store.SigningKey, secrets map[string]store.Sealed) (*snapshot, error) {
	s := &snapshot{
		signers:        make(map[jose.Algorithm]*ActiveKey),
		public:         make(map[string]*jose.PublicKey),
		pairs:          make(map[jose.Algorithm]pair),
		checkpointKeys: make(map[string]*jose.PublicKey),
	}
	retired := make(map[jose.Algorithm][]*ActiveKey)
	for _, row := range rows {
		if row.State == store.KeyRevoked {
			continue
		}
		key, err := m.openKey(row)
		if err != nil {
			return nil, err
		}
		if err := s.add(row, key); err != nil {
			return nil, err
		}
		if row.Use == store.KeyUseToken && row.State == store.KeyRetired {
			retired[key.Algorithm()] = append(retired[key.Algorithm()], &ActiveKey{PrivateKey: key, Since: row.ActivatedAt, until: row.RetiredAt})
		}
	}
	for alg, key := range s.signers {
		key.line(retired[alg])
	}
	s.render()

	if sealed, ok := secrets[pepperName]; ok {
		key, err := m.Open(PurposeSecret, pepperName, sealed)
		if err != nil {
			return nil, err
		}
		if len(key) != pepperSize {
			return nil, fmt.Errorf("the sealed secret %s is not %d bytes long", pepperName, pepperSize)
		}
		s.pepper = newPepper(key)
	}
	return s, nil
}

// add files the key by its use and state. Two active keys of one algorithm are
// refused: which of them signs would then depend on the node.
func (s *snapshot) add(row store.SigningKey, key *jose.PrivateKey) error {
	twice := fmt.Errorf("the signing key %s is active beside another one of its kind", row.ID)
	switch row.Use {
	case store.KeyUseToken:
		s.public[row.ID] = key.Public()
		row.Private = store.Sealed{}
		row.PublicJWK = key.Public().JWK()
		s.published = append(s.published, row)
		keys := s.pairs[key.Algorithm()]
		switch row.State {
		case store.KeyActive:
			keys.active = &row
		case store.KeyPrepared:
			keys.prepared = &row
		}
		s.pairs[key.Algorithm()] = keys
		if row.State == store.KeyActive {
			if s.signers[key.Algorithm()] != nil {
				return twice
			}
			s.signers[key.Algorithm()] = &ActiveKey{PrivateKey: key, Since: row.ActivatedAt}
		}
	case store.KeyUseCheckpoint:
		s.checkpointKeys[row.ID] = key.Public()
		if row.State == store.KeyActive {
			if s.checkpoint != nil {
				return twice
			}
			s.checkpoint = key
		}
	default:
		return fmt.Errorf("the signing key %s has an unknown use", row.ID)
	}
	return nil
}

// render makes the key set of what is published.
func (s *snapshot) render() {
	set := []byte(`{"keys":[`)
	for i := range s.published {
		if i > 0 {
			set = append(set, ',')
		}
		set = append(set, s.published[i].PublicJWK...)
	}
	s.jwks = append(set, `]}`...)
	sum := sha256.Sum256(s.jwks)
	s.etag = `"` + hex.EncodeToString(sum[:16]) + `"`
	s.algorithms = nil
	for _, alg := range jose.Algorithms() {
		if slices.ContainsFunc(s.published, func(k store.SigningKey) bool { return k.Algorithm == string(alg) }) {
			s.algorithms = append(s.algorithms, string(alg))
		}
	}
}

// uses reports whether tokens are, or will be, signed by the algorithm: once
// chosen it stays.
func (s *snapshot) uses(alg jose.Algorithm) bool {
	_, ok := s.pairs[alg]
	return ok
}

// without gives the snapshot without the retired keys whose last token has
// expired; itself when there are none.
func (s *snapshot) without(now time.Time) *snapshot {
	gone := func(k store.SigningKey) bool { return withdrawn(&k, now) }
	if !slices.ContainsFunc(s.published, gone) {
		return s
	}
	next := *s
	next.public = maps.Clone(s.public)
	next.published = nil
	for _, k := range s.published {
		if gone(k) {
			delete(next.public, k.ID)
		} else {
			next.published = append(next.published, k)
		}
	}
	next.render()
	return &next
}

// openKey refuses a row whose public half is not that of its private half:
// tokens would be signed that no verifier accepts, or a foreign key published.
func (m *MasterKeys) openKey(row store.SigningKey) (*jose.PrivateKey, error) {
	der, err := m.Open(purposeOf(row.Use), row.ID, row.Private)
	if err != nil {
		return nil, err
	}
	key, err := jose.ParsePKCS8(jose.Algorithm(row.Algorithm), row.ID, der)
	clear(der)
	if err != nil {
		return nil, fmt.Errorf("the signing key %s: %w", row.ID, err)
	}
	public, err := jose.ParseJWK(row.PublicJWK)
	if err != nil {
		return nil, fmt.Errorf("the public part of the signing key %s: %w", row.ID, err)
	}
	if !public.Equal(key.Public()) {
		return nil, fmt.Errorf("the public part of the signing key %s does not belong to its private part: restore the row from a backup", row.ID)
	}
	return key, nil
}

func purposeOf(use store.KeyUse) Purpose {
	if use == store.KeyUseCheckpoint {
		return PurposeAudit
	}
	return PurposeToken
}
