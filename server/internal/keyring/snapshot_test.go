package keyring

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
)

// row makes a stored key pair as Bootstrap does.
func row(t testing.TB, m *MasterKeys, use store.KeyUse, state store.KeyState) store.SigningKey {
	t.Helper()
	k := &Keyring{master: m, clock: clock.System()}
	r, err := k.newKey(need{use, jose.ES256, state})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheKeySetHasWhatVerifiersNeedAndNothingElse(t *testing.T) {
	t.Parallel()
	m := masterKeys(t, 1)
	retired := row(t, m, store.KeyUseToken, store.KeyRetired)
	active := row(t, m, store.KeyUseToken, store.KeyActive)
	prepared := row(t, m, store.KeyUseToken, store.KeyPrepared)
	revoked := row(t, m, store.KeyUseToken, store.KeyRevoked)
	seals := row(t, m, store.KeyUseCheckpoint, store.KeyActive)
	sealed := row(t, m, store.KeyUseCheckpoint, store.KeyRetired)
	s, err := m.openAll([]store.SigningKey{retired, active, prepared, revoked, seals, sealed}, nil)
	if err != nil {
		t.Fatal(err)
	}

	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(s.jwks, &set); err != nil {
		t.Fatalf("%s: %v", s.jwks, err)
	}
	var ids []string
	for _, k := range set.Keys {
		ids = append(ids, k["kid"])
		if k["use"] != "sig" || k["alg"] != "ES256" || k["kty"] != "EC" || k["crv"] != "P-256" || k["d"] != "" || len(k) != 7 {
			t.Errorf("key %v", k)
		}
	}
	if diff := cmp.Diff([]string{retired.ID, active.ID, prepared.ID}, ids); diff != "" {
		t.Error(diff)
	}
	for _, id := range ids {
		if s.public[id] == nil {
			t.Errorf("%s is published, and its signatures are refused", id)
		}
	}
	for _, other := range []store.SigningKey{revoked, seals, sealed} {
		if s.public[other.ID] != nil || strings.Contains(string(s.jwks), other.ID) {
			t.Errorf("the %s key for %s is published", other.State, other.Use)
		}
	}
	if got := s.signers[jose.ES256].KeyID(); got != active.ID {
		t.Errorf("%s signs tokens", got)
	}
	if got := s.checkpoint.KeyID(); got != seals.ID {
		t.Errorf("%s signs checkpoints", got)
	}
	if s.checkpointKeys[seals.ID] == nil || s.checkpointKeys[sealed.ID] == nil || len(s.checkpointKeys) != 2 {
		t.Errorf("keys of checkpoints: %v", s.checkpointKeys)
	}
	if len(s.etag) < 4 || s.etag[0] != '"' || s.etag[len(s.etag)-1] != '"' {
		t.Errorf("entity tag %s", s.etag)
	}
	less, err := m.openAll([]store.SigningKey{active, prepared}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if less.etag == s.etag {
		t.Error("another key set has the same entity tag")
	}
}

func TestAnEmptyKeySetIsStillOne(t *testing.T) {
	t.Parallel()
	s, err := masterKeys(t, 1).openAll(nil, nil)
	if err != nil || string(s.jwks) != `{"keys":[]}` {
		t.Errorf("%s, %v", s.jwks, err)
	}
}

func TestRowsThatWereTamperedWithAreRefused(t *testing.T) {
	t.Parallel()
	m := masterKeys(t, 1)
	good := row(t, m, store.KeyUseToken, store.KeyActive)
	other := row(t, m, store.KeyUseToken, store.KeyPrepared)
	seals := row(t, m, store.KeyUseCheckpoint, store.KeyActive)
	for name, c := range map[string]struct {
		change func(*store.SigningKey)
		says   string
	}{
		"private halves swapped": {func(r *store.SigningKey) { r.Private = other.Private }, "does not open"},
		"public half of another": {func(r *store.SigningKey) { r.PublicJWK = other.PublicJWK }, "does not belong"},
		"foreign key, same id":   {func(r *store.SigningKey) { r.PublicJWK = renamed(t, other.PublicJWK, r.ID) }, "does not belong"},
		"public half unreadable": {func(r *store.SigningKey) { r.PublicJWK = []byte("{}") }, "public part"},
		"ciphertext altered":     {func(r *store.SigningKey) { r.Private.Ciphertext = flip(r.Private.Ciphertext) }, "altered"},
		"audit key as token key": {func(r *store.SigningKey) { *r = seals; r.Use = store.KeyUseToken }, "does not open"},
		"token key as audit key": {func(r *store.SigningKey) { r.Use = store.KeyUseCheckpoint }, "does not open"},
		"unknown algorithm":      {func(r *store.SigningKey) { r.Algorithm = "HS256" }, "not supported"},
		"unknown version": {func(r *store.SigningKey) {
			*r = row(t, m, store.KeyUseToken, store.KeyPrepared)
			r.Private.MasterVersion = 9
		}, "version 9"},
		"a second active key":      {func(r *store.SigningKey) { *r = other; r.State = store.KeyActive }, "active beside another"},
		"a second active audit":    {func(r *store.SigningKey) { *r = row(t, m, store.KeyUseCheckpoint, store.KeyActive) }, "active beside another"},
		"an unknown kind of use":   {func(r *store.SigningKey) { r.Use = "other" }, "unknown use"},
		"id of another row":        {func(r *store.SigningKey) { r.ID = other.ID }, "does not open"},
		"sealed by another master": {func(r *store.SigningKey) { r.Private = seal(t, masterKeys(t, 1), PurposeToken, r.ID, "x") }, "does not open"},
		"sealed nonsense":          {func(r *store.SigningKey) { r.Private = seal(t, m, PurposeToken, r.ID, "x") }, "PKCS #8"},
	} {
		bad := good
		c.change(&bad)
		_, err := m.openAll([]store.SigningKey{good, seals, bad}, nil)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	short := map[string]store.Sealed{pepperName: seal(t, m, PurposeSecret, pepperName, "short")}
	if _, err := m.openAll(nil, short); err == nil {
		t.Error("a pepper of 5 bytes was taken")
	}
	wrong := map[string]store.Sealed{pepperName: seal(t, m, PurposeSecret, "salt", strings.Repeat("x", pepperSize))}
	if _, err := m.openAll(nil, wrong); err == nil {
		t.Error("another sealed secret was taken for the pepper")
	}
}

func renamed(t testing.TB, jwk []byte, kid string) []byte {
	t.Helper()
	var m map[string]string
	if err := json.Unmarshal(jwk, &m); err != nil {
		t.Fatal(err)
	}
	m["kid"] = kid
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func flip(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

func BenchmarkSecretMAC(b *testing.B) {
	k := &Keyring{}
	k.current.Store(&snapshot{pepper: newPepper(make([]byte, pepperSize))})
	b.ReportAllocs()
	for b.Loop() {
		k.SecretMAC("mqs_0123456789abcdefghijklmnopqrstuvwxyz0123456ABCDEF")
	}
}
