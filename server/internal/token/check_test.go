package token

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
)

// refusedFor holds Verify to refuse, with one public face and the right reason.
func (w *world) refusedFor(raw string, want reason) {
	w.t.Helper()
	_, err := w.checker.Verify(w.t.Context(), raw)
	public := *fault.From(err).Because(nil)
	if diff := cmp.Diff(fault.InvalidToken(), &public, cmp.AllowUnexported(fault.Error{})); diff != "" {
		w.t.Errorf("another face than that of every bad token:\n%s", diff)
	}
	if got, _ := errors.AsType[reason](err); want != good && got != want {
		w.t.Errorf("refused because %q (%v), want %q", got, err, want)
	}
}

func (w *world) accepted(raw string) {
	w.t.Helper()
	if _, err := w.checker.Verify(w.t.Context(), raw); err != nil {
		w.t.Errorf("a good token is refused: %v", err)
	}
}

func TestTokenDiesWithWhatItRestsOn(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		tests := map[string]struct {
			kill func(a *agent, m Minted)
			want reason
		}{
			"account disabled": {func(a *agent, _ Minted) {
				a.change(func(s *identity.ServiceAccount) { s.Status = identity.StatusDisabled })
			}, reasonAccountState},
			"account expired": {func(a *agent, _ Minted) {
				a.change(func(s *identity.ServiceAccount) { s.ExpiresAt = w.clock.Now() })
			}, reasonAccountState},
			"account deleted": {func(a *agent, _ Minted) {
				w.change(audit.AccountDeleted, func(ctx context.Context, tx *store.Tx) error {
					account, err := tx.ServiceAccount(ctx, a.id)
					if err != nil {
						return err
					}
					return tx.DeleteServiceAccount(ctx, account)
				})
			}, reasonAccount},
			"everything revoked": {func(a *agent, _ Minted) { a.stop() }, reasonGeneration},
			"credential deleted": {func(a *agent, _ Minted) {
				w.change(audit.ClientSecretDeleted, func(ctx context.Context, tx *store.Tx) error {
					return tx.DeleteClientSecret(ctx, a.id, a.secret.ID)
				})
			}, reasonCredential},
			"credential expired": {func(a *agent, _ Minted) {
				w.change(audit.ClientSecretRotated, func(ctx context.Context, tx *store.Tx) error {
					return tx.UpdateClientSecretExpiry(ctx, a.id, a.secret.ID, w.clock.Now())
				})
			}, reasonCredential},
			"token revoked": {func(a *agent, m Minted) {
				w.must(w.service.Revoke(t.Context(), a.caller(), m.Token, Meta{}))
			}, reasonRevoked},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				a := w.agent(strings.ReplaceAll(name, " ", "-"))
				m := a.token()
				w.accepted(m.Token) // it is in the cache from here on
				tt.kill(a, m)
				w.refusedFor(m.Token, tt.want)
			})
		}
	})
}

func TestTokenDiesWithItsResourceServer(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		m := w.agent("reader").token()
		w.accepted(m.Token)
		w.change(audit.ResourceServerDeleted, func(ctx context.Context, tx *store.Tx) error {
			rs, err := tx.ResourceServer(ctx, w.api.ID)
			if err != nil {
				return err
			}
			return tx.DeleteResourceServer(ctx, rs)
		})
		w.refusedFor(m.Token, reasonAudience)
	})
}

func TestTokenDiesWithItsSigningKey(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		m := w.agent("reader").token()
		w.accepted(m.Token)
		key, err := w.keys.Signer(jose.ES256)
		w.must(err)
		w.change(audit.SigningKeyCreated, func(ctx context.Context, tx *store.Tx) error {
			row, err := tx.SigningKey(ctx, key.KeyID())
			if err != nil {
				return err
			}
			return tx.RevokeSigningKey(ctx, row)
		})
		w.must(w.keys.Reload(t.Context()))
		w.refusedFor(m.Token, reasonKey)
	})
}

func TestOldTokensOfAnEnabledAccountStayDead(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a := w.agent("reader")
		old := a.token()
		a.change(func(s *identity.ServiceAccount) { s.Status = identity.StatusDisabled })
		a.stop()
		a.change(func(s *identity.ServiceAccount) { s.Status = identity.StatusActive })
		w.refusedFor(old.Token, reasonGeneration)
		// The same second: neither iat nor the clock tells the two apart.
		w.accepted(a.token().Token)
	})
}

func TestTokenOfAnotherCredentialLivesOn(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a := w.agent("reader")
		old := a.token()
		gone := a.secret
		a.secret = a.newSecret(time.Time{})
		m := a.token()
		w.change(audit.ClientSecretDeleted, func(ctx context.Context, tx *store.Tx) error {
			return tx.DeleteClientSecret(ctx, a.id, gone.ID)
		})
		w.refusedFor(old.Token, reasonCredential)
		w.accepted(m.Token)
	})
}

func TestOnlyAccessTokensOfOursAreAccepted(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a := w.agent("reader")
		r := a.request()
		key, err := w.keys.Signer(jose.ES256)
		w.must(err)
		foreign, err := jose.GenerateKey(jose.ES256, key.KeyID())
		w.must(err)
		checkpoints, err := w.keys.CheckpointSigner()
		w.must(err)
		sign := func(key *jose.PrivateKey, typ string, change func(*Claims)) string {
			c := w.issuer.claims(&r)
			change(&c)
			raw, err := jose.Sign(key, typ, appendClaims(nil, &c))
			w.must(err)
			return raw
		}
		same := func(*Claims) {}
		w.accepted(sign(key.PrivateKey, "at+jwt", same))

		tests := map[string]string{
			"empty":                  "",
			"garbage":                "garbage",
			"too long":               strings.Repeat("a", maxPresented+1),
			"plain JWT":              sign(key.PrivateKey, "JWT", same),
			"assertion":              sign(key.PrivateKey, "client-authentication+jwt", same),
			"DPoP proof":             sign(key.PrivateKey, "dpop+jwt", same),
			"checkpoint":             sign(key.PrivateKey, "audit-checkpoint+jwt", same),
			"typ in another case":    sign(key.PrivateKey, "AT+JWT", same),
			"typ with its full name": sign(key.PrivateKey, "application/at+jwt", same),
			"key of somebody else":   sign(foreign, "at+jwt", same),
			"key of checkpoints":     sign(checkpoints, "at+jwt", same),
			"another issuer":         sign(key.PrivateKey, "at+jwt", func(c *Claims) { c.Issuer = "https://other.example" }),
			"sub is not client_id":   sign(key.PrivateKey, "at+jwt", func(c *Claims) { c.Subject = "sa_x" }),
			"client_id is no id":     sign(key.PrivateKey, "at+jwt", func(c *Claims) { c.Subject, c.ClientID = "x", "x" }),
			"jti is no id":           sign(key.PrivateKey, "at+jwt", func(c *Claims) { c.TokenID = "x" }),
			"no audience":            sign(key.PrivateKey, "at+jwt", func(c *Claims) { c.Audience = "" }),
			"unknown audience":       sign(key.PrivateKey, "at+jwt", func(c *Claims) { c.Audience = "https://nowhere.example" }),
			"unknown credential":     sign(key.PrivateKey, "at+jwt", func(c *Claims) { c.CredentialID = "sec_x" }),
			"issued ahead":           sign(key.PrivateKey, "at+jwt", func(c *Claims) { c.IssuedAt += 11; c.NotBefore += 11; c.ExpiresAt += 11 }),
		}
		for _, raw := range tests {
			w.refusedFor(raw, good)
		}
	})
}

func TestTokenExpiresOnTheSecond(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		m := w.agent("reader").token()
		w.clock.Advance(15*time.Minute - time.Second)
		w.accepted(m.Token)
		w.clock.Advance(time.Second)
		w.refusedFor(m.Token, reasonExpired)
	})
}

func TestBearerMayUseWhatTokenAndAccountBothHold(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a := w.agent("auditor", identity.RoleAuditorID)
		full, narrow := a.managementToken(), a.managementToken(identity.PermAuditRead, identity.PermRolesRead)

		caller, err := w.checker.Bearer(t.Context(), full.Token)
		w.must(err)
		if !caller.Has(identity.PermServiceAccountsRead) || caller.Has(identity.PermServiceAccountsWrite) {
			t.Errorf("an auditor may use %v", caller.Scopes)
		}
		if caller.ClientID != a.id || caller.TokenID != full.ID || caller.CredentialID != a.secret.ID ||
			!caller.ExpiresAt.Equal(full.ExpiresAt) || cmp.Diff([]string{"auditor"}, caller.Roles) != "" {
			t.Errorf("the caller is %+v", caller)
		}

		caller, err = w.checker.Bearer(t.Context(), narrow.Token)
		w.must(err)
		if diff := cmp.Diff([]string{identity.PermAuditRead, identity.PermRolesRead}, caller.Scopes); diff != "" {
			t.Errorf("a narrow token -want +got:\n%s", diff)
		}

		w.change(audit.RoleUnassigned, func(ctx context.Context, tx *store.Tx) error {
			return tx.Unassign(ctx, a.id, identity.RoleAuditorID)
		})
		caller, err = w.checker.Bearer(t.Context(), full.Token)
		w.must(err)
		if len(caller.Scopes) != 0 || len(caller.Roles) != 0 {
			t.Errorf("without its role the caller may use %v as %v", caller.Scopes, caller.Roles)
		}
	})
}

func TestBearerNeedsTheManagementAudience(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a := w.agent("admin", identity.RoleAdminID)
		if _, err := w.checker.Bearer(t.Context(), a.token().Token); !fault.Is(err, fault.CodeInvalidToken) {
			t.Errorf("a token for another API: %v", err)
		}
		if _, err := w.checker.Bearer(t.Context(), ""); !fault.Is(err, fault.CodeUnauthenticated) {
			t.Errorf("no token: %v", err)
		}
	})
}
