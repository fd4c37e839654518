package directory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

const (
	// MaxLiveSecrets is how many secrets of one account may work at once.
	MaxLiveSecrets = 10

	// keptExpiredSecrets is how many that have ended stay to be looked at. An
	// account that rotates every day must not grow without bound, since all of
	// its secrets are in memory.
	keptExpiredSecrets = 20

	whatSecret = "client secret"
)

// NewClientSecret is the body of a creation.
type NewClientSecret struct {
	ExpiresAt time.Time // zero: never
}

// IssuedSecret is a client secret at the only moment when its text is known.
type IssuedSecret struct {
	ClientSecret identity.ClientSecret
	Secret       identity.Secret
}

// CreateClientSecret makes a further secret for the account.
func (s *Service) CreateClientSecret(ctx context.Context, caller *token.Caller, meta Meta, accountID string, in NewClientSecret) (*IssuedSecret, error) {
	out, invalid := s.mint(accountID, in.ExpiresAt)
	return onceSecret(ctx, s, caller, meta, whatSecret, invalid, func(tx *store.Tx) (*IssuedSecret, string, error) {
		have, err := openSecrets(ctx, tx, caller, accountID)
		if err != nil {
			return nil, "", err
		}
		if countLive(have, tx.Now) >= MaxLiveSecrets {
			return nil, "", tooManySecrets()
		}
		if err := insertSecret(ctx, tx, identity.NewID(identity.PrefixClientSecret, tx.Now), out, have); err != nil {
			return nil, "", err
		}
		e := secretEvent(caller, meta, audit.ClientSecretCreated, &out.ClientSecret)
		tx.Audit(e)
		return out, out.ClientSecret.ID, nil
	})
}

// mint makes a secret and its MAC, outside any transaction.
func (s *Service) mint(accountID string, expiresAt time.Time) (*IssuedSecret, error) {
	var f identity.Findings
	expiresAt = instant(expiresAt)
	f.Future("/expires_at", expiresAt, s.clock.Now())
	if err := f.Err(); err != nil {
		return nil, err
	}
	secret := identity.GenerateClientSecret()
	return &IssuedSecret{
		Secret: secret,
		ClientSecret: identity.ClientSecret{
			ServiceAccountID: accountID,
			Hint:             identity.Hint(secret),
			MAC:              s.keys.SecretMAC(secret.Reveal()),
			ExpiresAt:        expiresAt,
		},
	}, nil
}

// openSecrets reads the secrets of an account that the caller may speak for and
// that may have another one.
func openSecrets(ctx context.Context, tx *store.Tx, caller *token.Caller, accountID string) ([]identity.ClientSecret, error) {
	account, err := readAccount(ctx, tx.Reader, accountID)
	if err != nil {
		return nil, err
	}
	if err := mayActAs(ctx, tx, caller, accountID); err != nil {
		return nil, err
	}
	if err := kindAllowed(account, identity.KindClientSecret); err != nil {
		return nil, err
	}
	return allSecrets(ctx, tx.Reader, accountID)
}

// insertSecret inserts the new secret and drops the oldest of those that have
// ended. A crash before the commit leaves a secret that nobody was told.
func insertSecret(ctx context.Context, tx *store.Tx, id string, out *IssuedSecret, have []identity.ClientSecret) error {
	out.ClientSecret.ID = id
	out.ClientSecret.CreatedAt = tx.Now
	if err := tx.InsertClientSecret(ctx, &out.ClientSecret); err != nil {
		return err
	}
	ended := slices.DeleteFunc(slices.Clone(have), func(c identity.ClientSecret) bool { return c.Live(tx.Now) })
	slices.SortFunc(ended, func(a, b identity.ClientSecret) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	for _, c := range ended[:max(0, len(ended)-keptExpiredSecrets)] {
		if err := tx.DeleteClientSecret(ctx, c.ServiceAccountID, c.ID); err != nil {
			return err
		}
	}
	return nil
}

func tooManySecrets() error {
	return fault.New(fault.KindConflict, fault.CodeLimitReached,
		"the service account has %d live client secrets already: delete one first", MaxLiveSecrets)
}

func secretEvent(caller *token.Caller, meta Meta, typ audit.Type, c *identity.ClientSecret) audit.Event {
	e := event(caller, meta, typ)
	e.AccountID, e.Subject = c.ServiceAccountID, c.ID
	e.Details = map[string]string{"expires_at": written(c.ExpiresAt)}
	return e
}

// GetClientSecret reads what is known of one secret; its text is not.
func (s *Service) GetClientSecret(ctx context.Context, _ *token.Caller, accountID, id string) (*identity.ClientSecret, error) {
	var c *identity.ClientSecret
	err := s.store.View(ctx, func(r *store.Reader) (err error) {
		if _, err = readAccount(ctx, r, accountID); err != nil {
			return err
		}
		if err = identity.ParseID(identity.PrefixClientSecret, id); err != nil {
			return err
		}
		c, err = r.ClientSecret(ctx, accountID, id)
		return err
	})
	return c, err
}

// ListClientSecrets lists the secrets of an account, oldest first, those that
// have ended included until they are deleted.
func (s *Service) ListClientSecrets(ctx context.Context, _ *token.Caller, accountID string, ask PageRequest) (Page[identity.ClientSecret], error) {
	l := list("client secrets", accountID, isID(identity.PrefixClientSecret))
	return viewPage(ctx, s, l, ask, func(r *store.Reader, at store.Page) ([]identity.ClientSecret, bool, error) {
		if _, err := readAccount(ctx, r, accountID); err != nil {
			return nil, false, err
		}
		return r.ClientSecrets(ctx, accountID, at)
	}, func(c *identity.ClientSecret) string { return c.ID })
}

// DeleteClientSecret ends a secret at once, and with it every token that was
// issued for it: their cred names a credential that is gone.
func (s *Service) DeleteClientSecret(ctx context.Context, caller *token.Caller, meta Meta, accountID, id string) error {
	return s.change(ctx, caller, func(tx *store.Tx) error {
		if _, err := readAccount(ctx, tx.Reader, accountID); err != nil {
			return err
		}
		if err := identity.ParseID(identity.PrefixClientSecret, id); err != nil {
			return err
		}
		c, err := tx.ClientSecret(ctx, accountID, id)
		if err != nil {
			return err
		}
		err = keepAdministrator(ctx, tx, accountID, func() error { return tx.DeleteClientSecret(ctx, accountID, id) })
		if err != nil {
			return err
		}
		tx.Audit(secretEvent(caller, meta, audit.ClientSecretDeleted, c))
		return nil
	})
}

// allSecrets are all undeleted secrets of an account, oldest first: never more
// than MaxLiveSecrets and keptExpiredSecrets together, and a rotation's worth.
func allSecrets(ctx context.Context, r *store.Reader, accountID string) ([]identity.ClientSecret, error) {
	return collect(each(func(at store.Page) ([]identity.ClientSecret, bool, error) {
		return r.ClientSecrets(ctx, accountID, at)
	}, func(c *identity.ClientSecret) string { return c.ID }))
}

func countLive(secrets []identity.ClientSecret, now time.Time) int {
	n := 0
	for i := range secrets {
		if secrets[i].Live(now) {
			n++
		}
	}
	return n
}

// joined is a list of ids in audit details.
func joined(ids []string) string { return strings.Join(ids, " ") }
