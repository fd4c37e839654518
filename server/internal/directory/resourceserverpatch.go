package directory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// ResourceServerPatch is a merge patch; lists are replaced whole. Null clears
// Permissions, TokenLifetimeMax and Introspectors and is refused elsewhere. The
// identifier is no member: tokens name it.
type ResourceServerPatch struct {
	Name             Patch[string]
	Permissions      Patch[[]identity.Permission]
	TokenLifetimeMax Patch[time.Duration]
	SigningAlg       Patch[string]
	Introspectors    Patch[[]string]
}

func (in *ResourceServerPatch) apply(rs *identity.ResourceServer) (*patching, error) {
	p := &patching{}
	patch(p, "name", &rs.Name, in.Name, required)
	patchBy(p, "permissions", &rs.Permissions, in.Permissions, optional, samePermissions)
	patch(p, "token_lifetime_max", &rs.TokenLifetimeMax, in.TokenLifetimeMax, optional)
	patch(p, "signing_alg", &rs.SigningAlg, in.SigningAlg, required)
	patchBy(p, "introspectors", &rs.Introspectors, in.Introspectors, optional, sameSet)
	checkResourceServer(&p.findings, rs)
	slices.Sort(p.changed)
	return p, p.findings.Err()
}

// samePermissions compares sets: the store keeps no order.
func samePermissions(a, b []identity.Permission) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(p identity.Permission) bool { return !slices.Contains(b, p) })
}

func sameSet(a, b []string) bool {
	return len(a) == len(b) && len(difference(a, b)) == 0
}

// UpdateResourceServer applies a merge patch. A declared permission that a role
// grants cannot be removed by it: see [Service.ChangePermissions].
func (s *Service) UpdateResourceServer(ctx context.Context, caller *token.Caller, meta Meta, id string, ifMatch *int64, in ResourceServerPatch) (*identity.ResourceServer, error) {
	var first *store.SigningKey
	if alg := in.SigningAlg.Value; slices.Contains(identity.SigningAlgorithms(), alg) {
		var err error
		if first, err = s.firstKey(alg); err != nil {
			return nil, err
		}
	}
	var out *identity.ResourceServer
	err := s.change(ctx, caller, func(tx *store.Tx) error {
		rs, err := changeableResourceServer(ctx, tx, id, ifMatch)
		if err != nil {
			return err
		}
		out = rs
		before := *rs
		p, err := in.apply(rs)
		if err != nil || len(p.changed) == 0 {
			return err
		}
		if p.has("name") {
			if err := nameIsFree(ctx, tx, rs.Name); err != nil {
				return err
			}
		}
		if err := checkIntrospectors(ctx, tx, rs.Introspectors, before.Introspectors); err != nil {
			return err
		}
		if p.has("signing_alg") {
			s.inForce(&before)
			if err := s.chooseAlgorithm(ctx, tx, caller, meta, rs, before.SigningAlgEffective, first); err != nil {
				return err
			}
		}
		names, namesBefore := permissionNames(rs.Permissions), permissionNames(before.Permissions)
		if err := undeclarable(ctx, tx, id, difference(namesBefore, names)); err != nil {
			return err
		}
		if err := tx.UpdateResourceServer(ctx, rs); err != nil {
			return err
		}
		e := event(caller, meta, audit.ResourceServerUpdated)
		e.Subject, e.Audience = id, rs.Identifier
		e.Details = map[string]string{"changed": joined(p.changed)}
		gainedAndLost(e.Details, "permissions", namesBefore, names)
		gainedAndLost(e.Details, "introspectors", before.Introspectors, rs.Introspectors)
		tx.Audit(e)
		out, err = tx.ResourceServer(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.inForce(out)
	return out, nil
}

// undeclarable refuses when a role grants one of the permissions that would go.
func undeclarable(ctx context.Context, tx *store.Tx, resourceServerID string, names []string) error {
	var granted []string
	for _, name := range names {
		roles, err := tx.PermissionUse(ctx, resourceServerID, name)
		if err != nil {
			return err
		}
		if roles.Count > 0 {
			granted = append(granted, name)
		}
	}
	if len(granted) == 0 {
		return nil
	}
	roles, err := tx.PermissionUse(ctx, resourceServerID, granted...)
	if err != nil {
		return err
	}
	return inUse("the permission "+strings.Join(granted, ", "),
		"resource_servers.change_permissions renames it or takes it from them", use{"role(s)", roles})
}
