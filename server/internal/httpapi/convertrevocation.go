package httpapi

import (
	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/token"
)

// stopOf reads what to revoke. read gives the claims of a token of ours.
func stopOf(in *api.RevocationCreate, read func(raw string) *token.Claims) (directory.Stop, error) {
	out := directory.Stop{
		TokenID: value(in.TokenID), AccountID: value(in.ServiceAccount), CredentialID: value(in.Credential),
		SigningKeyID: value(in.SigningKey), Reason: value(in.Reason), DryRun: value(in.DryRun),
	}
	if in.Token != nil {
		if out.Token = read(*in.Token); out.Token == nil {
			return out, fault.InvalidFields(fault.Field{Pointer: "/token", Detail: "is no token of this installation"})
		}
	}
	return out, nil
}

func toRevocationReport(s *directory.Stopped) api.RevocationReport {
	return api.RevocationReport{
		Applied: s.Applied,
		Entries: each(s.Entries, toRevocationEntry),
		ServiceAccounts: api.StoppedServiceAccounts{
			Count: countOf(s.AccountCount),
			Items: each(s.Accounts, func(a *directory.StoppedAccount) api.StoppedServiceAccount {
				return api.StoppedServiceAccount{ID: a.ID, Name: a.Name}
			}),
		},
		Credentials: api.StoppedCredentials{
			Count: countOf(s.CredentialCount),
			Items: each(s.Credentials, func(c *identity.Credential) api.StoppedCredential {
				return api.StoppedCredential{
					ID: c.ID, Kind: string(c.Kind), ServiceAccount: c.ServiceAccountID, LastUsedAt: presentTime(c.LastUsedAt),
				}
			}),
		},
	}
}

func toRevocationEntry(r *identity.Revocation) api.RevocationEntry {
	return api.RevocationEntry{
		Kind: api.RevocationKind(r.Kind), ID: r.ID, Gen: present(r.Gen), Audience: present(r.Audience),
		RevokedAt: r.RevokedAt, ExpiresAt: r.ExpiresAt,
	}
}

// countOf leaves a count out that cannot be known.
func countOf(n int) *int32 {
	if n < 0 {
		return nil
	}
	count := int32(n) // credentials of one account
	return &count
}
