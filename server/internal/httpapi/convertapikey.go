package httpapi

import (
	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/grant"
	"github.com/marque-id/marque/server/internal/identity"
)

func toAPIKey(k *identity.APIKey) api.APIKey {
	return api.APIKey{
		ID:              k.ID,
		ServiceAccount:  k.ServiceAccountID,
		Name:            k.Name,
		Hint:            k.Hint,
		Permissions:     toKeyPermissions(k),
		AllowedNetworks: networks(k.AllowedNetworks),
		ExpiresAt:       presentTime(k.ExpiresAt),
		ReplacedBy:      present(k.ReplacedBy),
		CreatedAt:       k.CreatedAt.UTC(),
		UpdatedAt:       k.UpdatedAt.UTC(),
		LastUsedAt:      presentTime(k.LastUsedAt),
	}
}

// toKeyPermissions tells a key that gives nothing from one that gives everything.
func toKeyPermissions(k *identity.APIKey) *[]api.RolePermission {
	if !k.Restricted {
		return nil
	}
	permissions := toRolePermissions(k.Permissions)
	return &permissions
}

// toIssuedAPIKey is the one place where the text of a key goes out.
func toIssuedAPIKey(issued *directory.IssuedAPIKey) api.IssuedAPIKey {
	k := &issued.APIKey
	return api.IssuedAPIKey{
		ID:              k.ID,
		ServiceAccount:  k.ServiceAccountID,
		Name:            k.Name,
		Hint:            k.Hint,
		Permissions:     toKeyPermissions(k),
		AllowedNetworks: networks(k.AllowedNetworks),
		ExpiresAt:       presentTime(k.ExpiresAt),
		CreatedAt:       k.CreatedAt.UTC(),
		UpdatedAt:       k.UpdatedAt.UTC(),
		APIKey:          issued.Secret.Reveal(),
	}
}

func newAPIKey(in *api.APIKeyCreate) directory.NewAPIKey {
	out := directory.NewAPIKey{Name: in.Name, AllowedNetworks: value(in.AllowedNetworks), ExpiresAt: value(in.ExpiresAt)}
	if in.Permissions != nil {
		permissions := rolePermissions(*in.Permissions)
		out.Permissions = &permissions
	}
	return out
}

func apiKeyPatch(in *api.APIKeyUpdate) directory.APIKeyPatch {
	return directory.APIKeyPatch{
		Name:            patchedValue(in.Name, same),
		Permissions:     patched(in.Permissions, rolePermissions),
		AllowedNetworks: patched(in.AllowedNetworks, same),
		ExpiresAt:       patched(in.ExpiresAt, same),
	}
}

func keyRotation(in *api.APIKeyRotation) directory.KeyRotation {
	r := directory.KeyRotation{ExpiresAt: value(in.ExpiresAt)}
	if in.Overlap != nil {
		overlap := seconds(*in.Overlap)
		r.Overlap = &overlap
	}
	return r
}

// loginParams are what a login says of the token, as the pipeline reads it.
func loginParams(in *api.Login) grant.Params {
	return grant.Params{{Name: "resource", Value: value(in.Resource)}, {Name: "scope", Value: value(in.Scope)}}
}
