package directory

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// APIKeyPatch is a merge patch; lists are replaced whole. Null is refused for
// Name and clears elsewhere: of Permissions, to all that the account holds.
type APIKeyPatch struct {
	Name            Patch[string]
	Permissions     Patch[[]identity.RolePermission]
	AllowedNetworks Patch[[]string]
	ExpiresAt       Patch[time.Time]
}

// apply changes the key and checks what came out.
func (in *APIKeyPatch) apply(k *identity.APIKey, now time.Time) (*patching, error) {
	p := &patching{}
	patch(p, "name", &k.Name, in.Name, required)
	if in.Permissions.Set {
		subset := keySubset{!in.Permissions.Null, slices.Clone(in.Permissions.Value)}
		have := keySubset{k.Restricted, k.Permissions}
		patchBy(p, "permissions", &have, PatchTo(subset), required, keySubset.equal)
		k.Restricted, k.Permissions = have.restricted, have.permissions
	}
	networks := Patch[[]netip.Prefix]{Set: in.AllowedNetworks.Set, Null: in.AllowedNetworks.Null}
	networks.Value = p.findings.Networks("/allowed_networks", in.AllowedNetworks.Value)
	patchList(p, "allowed_networks", &k.AllowedNetworks, networks)
	patchTime(p, "expires_at", &k.ExpiresAt, in.ExpiresAt)

	checkAPIKey(&p.findings, k)
	if p.has("expires_at") {
		// Only then: a key that has ended can still be renamed.
		p.findings.Future("/expires_at", k.ExpiresAt, now)
	}
	slices.Sort(p.changed)
	return p, p.findings.Err()
}

// keySubset is what a key gives at most: of a list, or all.
type keySubset struct {
	restricted  bool
	permissions []identity.RolePermission
}

func (a keySubset) equal(b keySubset) bool {
	return a.restricted == b.restricted && sameRolePermissions(a.permissions, b.permissions)
}

// widens reports whether a key with b gives anything that one with a does not.
func (a keySubset) widens(b keySubset) bool {
	return a.restricted && (!b.restricted || len(addedPermissions(a.permissions, b.permissions)) > 0)
}

// UpdateAPIKey applies a merge patch.
func (s *Service) UpdateAPIKey(ctx context.Context, caller *token.Caller, meta Meta, accountID, id string, ifMatch *int64, in APIKeyPatch) (*identity.APIKey, error) {
	var out *identity.APIKey
	err := s.change(ctx, caller, func(tx *store.Tx) error {
		k, err := readKey(ctx, tx.Reader, accountID, id)
		if err != nil {
			return err
		}
		out = k
		if err := matches(ifMatch, k.Version); err != nil {
			return err
		}
		before := *k
		p, err := in.apply(k, tx.Now)
		if err != nil || len(p.changed) == 0 {
			return err
		}
		if p.has("expires_at") && !before.Live(tx.Now) {
			// Verifiers have been told that it is dead, and would not believe its
			// new tokens.
			return fault.InvalidFields(fault.Field{Pointer: "/expires_at", Detail: "cannot be moved once the key has ended: make another key"})
		}
		if p.has("permissions") {
			if err := checkDeclared(ctx, tx, k.Permissions); err != nil {
				return err
			}
		}
		if keyLoosened(&before, p, k) {
			if err := mayHandOut(ctx, tx, caller, k); err != nil {
				return err
			}
		}
		if err := keepAdministrator(ctx, tx, accountID, func() error { return tx.UpdateAPIKey(ctx, k) }); err != nil {
			return err
		}
		e := keyEvent(caller, meta, audit.APIKeyUpdated, k)
		e.Details["changed"] = joined(p.changed)
		tx.Audit(e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// keyLoosened reports whether a change widens what the key gives, or what
// confines it. Of networks any change counts, as of those of an account.
func keyLoosened(before *identity.APIKey, p *patching, after *identity.APIKey) bool {
	return p.has("allowed_networks") || p.has("expires_at") && outlasts(after.ExpiresAt, before.ExpiresAt) ||
		keySubset{before.Restricted, before.Permissions}.widens(keySubset{after.Restricted, after.Permissions})
}
