package httpapi

import (
	"encoding/json"
	"fmt"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
)

func toSigningKey(k *directory.SigningKey) (api.SigningKey, error) {
	out := api.SigningKey{
		Kid:            k.KID,
		Algorithm:      api.SigningKeyAlgorithm(k.Algorithm),
		State:          api.SigningKeyState(k.State),
		CreatedAt:      k.CreatedAt.UTC(),
		ReadyAt:        presentTime(k.ReadyAt),
		ActivatedAt:    presentTime(k.ActivatedAt),
		RetiredAt:      presentTime(k.RetiredAt),
		PublishedUntil: presentTime(k.PublishedUntil),
		RevokedAt:      presentTime(k.RevokedAt),
	}
	if err := json.Unmarshal(k.PublicJWK, &out.Jwk); err != nil {
		return api.SigningKey{}, fmt.Errorf("httpapi: the public part of the signing key %s: %w", k.KID, err)
	}
	return out, nil
}

func toSigningKeys(keys []directory.SigningKey) ([]api.SigningKey, error) {
	out := make([]api.SigningKey, len(keys))
	for i := range keys {
		var err error
		if out[i], err = toSigningKey(&keys[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
