package directory

import (
	"context"
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

const (
	// MaxLiveAPIKeys is how many keys of one account may work at once.
	MaxLiveAPIKeys = 10

	whatAPIKey = "API key"

	// keptExpiredKeys is how many that have ended stay to be looked at, as of
	// client secrets.
	keptExpiredKeys = keptExpiredSecrets
)

// NewAPIKey is the body of a creation.
type NewAPIKey struct {
	Name            string
	Permissions     *[]identity.RolePermission // nil: all that the account holds
	AllowedNetworks []string                   // CIDRs
	ExpiresAt       time.Time                  // zero: never
}

// IssuedAPIKey is an API key at the only moment when its text is known.
type IssuedAPIKey struct {
	APIKey identity.APIKey
	Secret identity.Secret
}

// CreateAPIKey makes a further key for the account.
func (s *Service) CreateAPIKey(ctx context.Context, caller *token.Caller, meta Meta, accountID string, in NewAPIKey) (*IssuedAPIKey, error) {
	key := identity.APIKey{ServiceAccountID: accountID, Name: in.Name, ExpiresAt: instant(in.ExpiresAt)}
	if in.Permissions != nil {
		key.Restricted, key.Permissions = true, slices.Clone(*in.Permissions)
	}
	var f identity.Findings
	key.AllowedNetworks = f.Networks("/allowed_networks", in.AllowedNetworks)
	f.Future("/expires_at", key.ExpiresAt, s.clock.Now())
	checkAPIKey(&f, &key)
	out := s.mintKey(key)
	return onceSecret(ctx, s, caller, meta, whatAPIKey, f.Err(), func(tx *store.Tx) (*IssuedAPIKey, string, error) {
		account, err := readAccount(ctx, tx.Reader, accountID)
		if err != nil {
			return nil, "", err
		}
		if err := checkDeclared(ctx, tx, out.APIKey.Permissions); err != nil {
			return nil, "", err
		}
		have, err := openKeys(ctx, tx, caller, account, &out.APIKey)
		if err != nil {
			return nil, "", err
		}
		if err := insertKey(ctx, tx, identity.NewID(identity.PrefixAPIKey, tx.Now), out, have); err != nil {
			return nil, "", err
		}
		tx.Audit(keyEvent(caller, meta, audit.APIKeyCreated, &out.APIKey))
		return out, out.APIKey.ID, nil
	})
}

// checkAPIKey checks all of a key that needs neither a clock nor a database.
func checkAPIKey(f *identity.Findings, k *identity.APIKey) {
	f.RequiredText("/name", k.Name, identity.MaxKeyNameLength)
	checkPermissions(f, k.Permissions)
}

// mintKey makes the text of a key and its MAC, outside any transaction.
func (s *Service) mintKey(key identity.APIKey) *IssuedAPIKey {
	secret := identity.GenerateAPIKey()
	key.Hint, key.MAC = identity.Hint(secret), s.keys.SecretMAC(secret.Reveal())
	return &IssuedAPIKey{APIKey: key, Secret: secret}
}

// openKeys reads the keys of an account that may have another one, of which the
// caller may hand out what it gives.
func openKeys(ctx context.Context, tx *store.Tx, caller *token.Caller, account *identity.ServiceAccount, wanted *identity.APIKey) ([]identity.APIKey, error) {
	if err := mayHandOut(ctx, tx, caller, wanted); err != nil {
		return nil, err
	}
	if err := kindAllowed(account, identity.KindAPIKey); err != nil {
		return nil, err
	}
	return allKeys(ctx, tx.Reader, account.ID)
}

// insertKey inserts the new key and drops the oldest of those that have ended. A
// crash before the commit leaves a key that nobody was told.
func insertKey(ctx context.Context, tx *store.Tx, id string, out *IssuedAPIKey, have []identity.APIKey) error {
	var ended []identity.APIKey
	live := 0
	for _, k := range have {
		if k.Live(tx.Now) {
			live++
		} else {
			ended = append(ended, k)
		}
	}
	if live >= MaxLiveAPIKeys {
		return fault.New(fault.KindConflict, fault.CodeLimitReached,
			"the service account has %d live API keys already: delete one first", MaxLiveAPIKeys)
	}
	out.APIKey.ID = id
	if err := tx.InsertAPIKey(ctx, &out.APIKey); err != nil {
		return err
	}
	slices.SortFunc(ended, func(a, b identity.APIKey) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	for i := range ended[:max(0, len(ended)-keptExpiredKeys)] {
		if err := tx.DeleteAPIKey(ctx, &ended[i]); err != nil {
			return err
		}
	}
	return nil
}

// keyEvent starts the event of a change of a key: with what it gives, and where.
func keyEvent(caller *token.Caller, meta Meta, typ audit.Type, k *identity.APIKey) audit.Event {
	e := event(caller, meta, typ)
	e.AccountID, e.Subject = k.ServiceAccountID, k.ID
	e.Details = map[string]string{"name": k.Name, "expires_at": written(k.ExpiresAt), "permissions": "all"}
	if k.Restricted {
		e.Details["permissions"] = joined(rolePermissionNames(k.Permissions))
	}
	if len(k.AllowedNetworks) > 0 {
		e.Details["allowed_networks"] = writtenNetworks(k.AllowedNetworks)
	}
	return e
}

// GetAPIKey reads what is known of one key; its text is not.
func (s *Service) GetAPIKey(ctx context.Context, _ *token.Caller, accountID, id string) (*identity.APIKey, error) {
	var k *identity.APIKey
	err := s.store.View(ctx, func(r *store.Reader) (err error) {
		k, err = readKey(ctx, r, accountID, id)
		return err
	})
	return k, err
}

// readKey reads a key of a living account by ids that are still untrusted text.
func readKey(ctx context.Context, r *store.Reader, accountID, id string) (*identity.APIKey, error) {
	if _, err := readAccount(ctx, r, accountID); err != nil {
		return nil, err
	}
	if err := identity.ParseID(identity.PrefixAPIKey, id); err != nil {
		return nil, err
	}
	return r.APIKey(ctx, accountID, id)
}

// ListAPIKeys lists the keys of an account, oldest first, those that have ended
// included until they are deleted.
func (s *Service) ListAPIKeys(ctx context.Context, _ *token.Caller, accountID string, ask PageRequest) (Page[identity.APIKey], error) {
	l := list("api keys", accountID, isID(identity.PrefixAPIKey))
	return viewPage(ctx, s, l, ask, func(r *store.Reader, at store.Page) ([]identity.APIKey, bool, error) {
		if _, err := readAccount(ctx, r, accountID); err != nil {
			return nil, false, err
		}
		return r.APIKeys(ctx, accountID, at)
	}, func(k *identity.APIKey) string { return k.ID })
}

// DeleteAPIKey ends a key at once, and with it every token that was issued for it.
func (s *Service) DeleteAPIKey(ctx context.Context, caller *token.Caller, meta Meta, accountID, id string, ifMatch *int64) error {
	return s.change(ctx, caller, func(tx *store.Tx) error {
		k, err := readKey(ctx, tx.Reader, accountID, id)
		if err != nil {
			return err
		}
		if err := matches(ifMatch, k.Version); err != nil {
			return err
		}
		if err := keepAdministrator(ctx, tx, accountID, func() error { return tx.DeleteAPIKey(ctx, k) }); err != nil {
			return err
		}
		tx.Audit(keyEvent(caller, meta, audit.APIKeyDeleted, k))
		return nil
	})
}

// allKeys are all undeleted keys of an account, oldest first: never more than
// MaxLiveAPIKeys and keptExpiredKeys together, and a rotation's worth.
func allKeys(ctx context.Context, r *store.Reader, accountID string) ([]identity.APIKey, error) {
	return collect(each(func(at store.Page) ([]identity.APIKey, bool, error) {
		return r.APIKeys(ctx, accountID, at)
	}, func(k *identity.APIKey) string { return k.ID }))
}

// kindAllowed refuses a credential by which its account could not sign in.
func kindAllowed(a *identity.ServiceAccount, kind identity.CredentialKind) error {
	if a.AllowsCredential(kind) {
		return nil
	}
	return fault.New(fault.KindConflict, fault.CodeKindNotAllowed,
		"the service account may not sign in by a credential of the kind %s: see its allowed_credentials", kind)
}
