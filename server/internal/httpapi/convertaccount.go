package httpapi

import (
	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/identity"
)

func toServiceAccount(a *identity.ServiceAccount) api.ServiceAccount {
	labels := a.Labels
	if labels == nil {
		labels = api.Labels{}
	}
	return api.ServiceAccount{
		ID:                    a.ID,
		Name:                  a.Name,
		DisplayName:           a.DisplayName,
		Description:           a.Description,
		Kind:                  string(a.Kind),
		Owner:                 a.Owner,
		Labels:                labels,
		Status:                api.ServiceAccountStatus(a.Status),
		ExpiresAt:             presentTime(a.ExpiresAt),
		TokenLifetime:         presentSeconds(a.TokenLifetime),
		TokenRateLimit:        present(int32(a.TokenRateLimit)), // at most 60,000,000, by the contract
		DefaultResourceServer: present(a.DefaultResourceServer),
		AllowedNetworks:       networks(a.AllowedNetworks),
		AllowedCredentials:    toKinds(a.AllowedCredentials),
		CreatedAt:             a.CreatedAt.UTC(),
		UpdatedAt:             a.UpdatedAt.UTC(),
		LastUsedAt:            presentTime(a.LastUsedAt),
	}
}

func newServiceAccount(in *api.ServiceAccountCreate) directory.NewServiceAccount {
	return directory.NewServiceAccount{
		Name:                  in.Name,
		DisplayName:           value(in.DisplayName),
		Description:           value(in.Description),
		Kind:                  identity.Kind(value(in.Kind)),
		Owner:                 in.Owner,
		Labels:                value(in.Labels),
		ExpiresAt:             value(in.ExpiresAt),
		TokenLifetime:         seconds(value(in.TokenLifetime)),
		TokenRateLimit:        int(value(in.TokenRateLimit)),
		DefaultResourceServer: value(in.DefaultResourceServer),
		AllowedNetworks:       value(in.AllowedNetworks),
		AllowedCredentials:    kinds(value(in.AllowedCredentials)),
	}
}

func serviceAccountPatch(in *api.ServiceAccountUpdate) directory.ServiceAccountPatch {
	return directory.ServiceAccountPatch{
		Name:                  patchedValue(in.Name, same),
		DisplayName:           patched(in.DisplayName, same),
		Description:           patched(in.Description, same),
		Kind:                  patchedValue(in.Kind, func(k string) identity.Kind { return identity.Kind(k) }),
		Owner:                 patchedValue(in.Owner, same),
		Labels:                patched(in.Labels, same),
		ExpiresAt:             patched(in.ExpiresAt, same),
		TokenLifetime:         patched(in.TokenLifetime, seconds),
		TokenRateLimit:        patched(in.TokenRateLimit, func(n int32) int { return int(n) }),
		DefaultResourceServer: patched(in.DefaultResourceServer, same),
		AllowedNetworks:       patched(in.AllowedNetworks, same),
		AllowedCredentials:    patched(in.AllowedCredentials, kinds),
	}
}

func toKinds(in []identity.CredentialKind) *[]string {
	if len(in) == 0 {
		return nil
	}
	out := each(in, func(k *identity.CredentialKind) string { return string(*k) })
	return &out
}

func kinds(in []string) []identity.CredentialKind {
	if in == nil {
		return nil
	}
	return each(in, func(k *string) identity.CredentialKind { return identity.CredentialKind(*k) })
}

func serviceAccountFilter(in *api.ServiceAccountsListParams) (directory.ServiceAccountFilter, error) {
	labels, err := labelsOf(in.Label)
	return directory.ServiceAccountFilter{
		Kind:          identity.Kind(value(in.Kind)),
		Status:        identity.Status(value(in.Status)),
		Owner:         value(in.Owner),
		Labels:        labels,
		NamePrefix:    value(in.NamePrefix),
		UnusedSince:   value(in.UnusedSince),
		ExpiresBefore: value(in.ExpiresBefore),
	}, err
}

func toClientSecret(s *identity.ClientSecret) api.ClientSecret {
	return api.ClientSecret{
		ID:             s.ID,
		ServiceAccount: s.ServiceAccountID,
		Hint:           s.Hint,
		ReplacedBy:     present(s.ReplacedBy),
		ExpiresAt:      presentTime(s.ExpiresAt),
		CreatedAt:      s.CreatedAt.UTC(),
		LastUsedAt:     presentTime(s.LastUsedAt),
	}
}

func toCredential(c *identity.Credential) api.ServiceAccountCredential {
	return api.ServiceAccountCredential{
		ID:             c.ID,
		Kind:           string(c.Kind),
		ServiceAccount: c.ServiceAccountID,
		Hint:           c.Hint,
		ExpiresAt:      presentTime(c.ExpiresAt),
		CreatedAt:      c.CreatedAt.UTC(),
		LastUsedAt:     presentTime(c.LastUsedAt),
	}
}

func credentialFilter(in *api.CredentialsListParams) directory.CredentialFilter {
	return directory.CredentialFilter{
		AccountID:     value(in.ServiceAccount),
		Kind:          identity.CredentialKind(value(in.Kind)),
		Owner:         value(in.Owner),
		ExpiresBefore: value(in.ExpiresBefore),
		UnusedSince:   value(in.UnusedSince),
	}
}

// toIssuedClientSecret is the one place where the text of a secret goes out.
func toIssuedClientSecret(s *directory.IssuedSecret) api.IssuedClientSecret {
	return api.IssuedClientSecret{
		ID:             s.ClientSecret.ID,
		ServiceAccount: s.ClientSecret.ServiceAccountID,
		Hint:           s.ClientSecret.Hint,
		ExpiresAt:      presentTime(s.ClientSecret.ExpiresAt),
		CreatedAt:      s.ClientSecret.CreatedAt.UTC(),
		ClientSecret:   s.Secret.Reveal(),
	}
}

func rotation(in *api.ClientSecretRotation) directory.Rotation {
	r := directory.Rotation{SecretIDs: value(in.ClientSecrets), ExpiresAt: value(in.ExpiresAt)}
	if in.Overlap != nil {
		overlap := seconds(*in.Overlap)
		r.Overlap = &overlap
	}
	return r
}

func toWhoami(w *directory.Whoami) api.Whoami {
	return api.Whoami{
		ServiceAccount: toServiceAccount(w.Account),
		Credential:     w.CredentialID,
		TokenID:        w.TokenID,
		ExpiresAt:      w.ExpiresAt.UTC(),
		Permissions:    each(w.Scopes, clone),
		Grants: each(w.Grants, func(g *directory.HeldGrant) api.HeldGrant {
			return api.HeldGrant{
				ResourceServer: g.ResourceServerID,
				Audience:       g.Audience,
				Permissions:    each(g.Permissions, clone),
				Roles:          each(g.Roles, clone),
			}
		}),
	}
}

func clone[T any](v *T) T { return *v }
