package directory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// The escalation rule: nobody hands out, or makes reachable, rights that it
// does not hold itself, unless it holds roles:grant-any.
//
// What a caller holds is, at the management API, what the token in its hand
// says and its account still has: a token that was narrowed to one scope is no
// key to the rest of its account. At every other resource server it is what
// its account may ask for by the credential that the caller signed in by. Until when it holds a right counts too: what one has
// until Friday cannot be given away for good.
//
// The rule covers
//
//   - assigning a role, or moving the end of an assignment: all that the role
//     gives, until the assignment ends;
//   - creating a role: all its permissions; changing one: those that are added,
//     for good, since the role may be assigned already;
//   - renaming a declared permission that a role grants: the new name, for good.
//     Whoever has the role has the new name then, and an API goes by names alone:
//     it may take the new one for more than the old one was, as when a permission
//     is removed and another gets its name. Nobody can hold a name that is not
//     declared yet, so that it takes roles:grant-any. That the caller has such a
//     role itself does not matter further: it holds as many permissions as before,
//     and whoever may grant any could have given the name to an account of its own;
//   - creating or rotating a client secret: all that the account holds, because
//     whoever has the secret is the account;
//   - creating, rotating or widening an API key: what the account holds of what
//     the key gives, until the key ends;
//   - bringing an account back (enable, a later end) or loosening what confines
//     its credentials (networks, kinds, token lifetime): all that the account holds.
//
// Taking away is never confined by it: stopping must always be possible.

// rights are permissions by the resource server's identifier, each with the
// time until which it is held. A zero time is for good.
type rights map[right]time.Time

type right struct{ audience, permission string }

// add notes a right; the longer of two times stays.
func (r rights) add(audience, permission string, until time.Time) {
	k := right{audience, permission}
	if have, ok := r[k]; ok && !outlasts(until, have) {
		return
	}
	r[k] = until
}

// outlasts reports whether a ends after b, where zero never ends.
func outlasts(a, b time.Time) bool {
	return !b.IsZero() && (a.IsZero() || a.After(b))
}

// missing gives what of wanted is not held, or not long enough, sorted.
func (r rights) missing(wanted rights) []right {
	var out []right
	for k, until := range wanted {
		if have, ok := r[k]; !ok || outlasts(until, have) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b right) int {
		if c := strings.Compare(a.audience, b.audience); c != 0 {
			return c
		}
		return strings.Compare(a.permission, b.permission)
	})
	return out
}

// rightsOfAccount are what the account's live assignments give it, whether or
// not the account itself may sign in now.
func rightsOfAccount(ctx context.Context, tx *store.Tx, id string) (rights, error) {
	return rightsBy(ctx, tx, id, &identity.Credential{})
}

// rightsBy are what is left of these by a credential of the account. When the
// credential ends is left out: who has one that ends may make its next one.
func rightsBy(ctx context.Context, tx *store.Tx, id string, credential *identity.Credential) (rights, error) {
	grants, err := tx.EffectivePermissions(ctx, id, tx.Now)
	if err != nil {
		return nil, err
	}
	out := rights{}
	for audience, g := range grants {
		for _, source := range g.Sources {
			if !source.ExpiresAt.IsZero() && !tx.Now.Before(source.ExpiresAt) {
				continue
			}
			for _, p := range source.Permissions {
				if credential.Gives(g.ResourceServerID, p) {
					out.add(audience, p, source.ExpiresAt)
				}
			}
		}
	}
	return out, nil
}

// rightsOfCaller are what the caller may hand out. They are read in the
// transaction: what was taken from the caller a moment ago is gone here.
func rightsOfCaller(ctx context.Context, tx *store.Tx, caller *token.Caller) (rights, error) {
	credential, err := tx.Credential(ctx, caller.ClientID, caller.CredentialID)
	if err != nil {
		return nil, err
	}
	held, err := rightsBy(ctx, tx, caller.ClientID, credential)
	if err != nil {
		return nil, err
	}
	for k := range held {
		if k.audience == identity.ManagementIdentifier && !caller.Has(k.permission) {
			delete(held, k)
		}
	}
	return held, nil
}

// rightsOfPermissions are what a role with these permissions gives until then.
// The second result gives the identifiers that were looked up, by id.
func rightsOfPermissions(ctx context.Context, tx *store.Tx, permissions []identity.RolePermission, until time.Time) (rights, error) {
	out := rights{}
	audiences := map[string]string{}
	for _, p := range permissions {
		audience, ok := audiences[p.ResourceServerID]
		if !ok {
			rs, err := tx.ResourceServer(ctx, p.ResourceServerID)
			if err != nil {
				return nil, err
			}
			audience = rs.Identifier
			audiences[p.ResourceServerID] = audience
		}
		out.add(audience, p.Permission, until)
	}
	return out, nil
}

// mayGrant refuses to hand out what the caller does not hold.
func mayGrant(ctx context.Context, tx *store.Tx, caller *token.Caller, wanted rights) error {
	if len(wanted) == 0 {
		return nil
	}
	held, err := rightsOfCaller(ctx, tx, caller)
	if err != nil {
		return err
	}
	if missing := held.missing(wanted); len(missing) > 0 {
		if _, ok := held[right{identity.ManagementIdentifier, identity.PermRolesGrantAny}]; ok {
			tx.Used(caller.ClientID, identity.ManagementResourceServerID, identity.PermRolesGrantAny)
			return nil
		}
		// One of them is named: enough to find the mistake. The caller could
		// read the role anyway.
		return fault.New(fault.KindDenied, fault.CodeGrantExceedsCaller,
			"this grants %d permission(s) that the caller does not hold itself, or not for as long, such as %s at %s",
			len(missing), missing[0].permission, missing[0].audience)
	}
	return nil
}

// mayActAs refuses to make an account reachable that holds more than the
// caller. It tells nothing about what that account holds.
func mayActAs(ctx context.Context, tx *store.Tx, caller *token.Caller, accountID string) error {
	wanted, err := rightsOfAccount(ctx, tx, accountID)
	if err != nil {
		return err
	}
	err = mayGrant(ctx, tx, caller, wanted)
	if fault.Is(err, fault.CodeGrantExceedsCaller) {
		return fault.New(fault.KindDenied, fault.CodeGrantExceedsCaller,
			"the service account holds permissions that the caller does not hold itself, or not for as long")
	}
	return err
}

// mayHandOut refuses to make a key, or to widen one, by which an account would
// give more than the caller holds.
func mayHandOut(ctx context.Context, tx *store.Tx, caller *token.Caller, k *identity.APIKey) error {
	credential := k.Credential()
	wanted, err := rightsBy(ctx, tx, k.ServiceAccountID, &credential)
	if err != nil {
		return err
	}
	for r, until := range wanted {
		wanted[r] = token.Earliest(until, k.ExpiresAt)
	}
	err = mayGrant(ctx, tx, caller, wanted)
	if fault.Is(err, fault.CodeGrantExceedsCaller) {
		return fault.New(fault.KindDenied, fault.CodeGrantExceedsCaller,
			"the API key would give permissions that the caller does not hold itself, or not for as long")
	}
	return err
}
