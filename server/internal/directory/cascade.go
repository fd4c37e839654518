package directory

import (
	"context"
	"slices"
	"strconv"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// A deletion that cascades first takes the thing from all that use it, in the
// same transaction and with an event for each of them. It only takes away, so
// the escalation rule does not confine it, nor does it matter that the caller
// is among the users: as with a role that is narrowed, what everybody loses is
// no favour to oneself. What is built in stays, and with the role admin the
// last administrator.

// maxCascade is how many users one deletion takes something from, and how many
// grants one change of permissions touches. Writers wait for one another, and
// all of it is one transaction.
const maxCascade = 10_000

// tooManyUsers says how to go on where one call is not enough.
func (s *Service) tooManyUsers(what, instead string) error {
	return fault.New(fault.KindConflict, fault.CodeLimitReached,
		"%s is used more than %d times, which is more than one call takes away: %s", what, s.cascade, instead)
}

// unassignAll records that a role is taken from everybody; its deletion does it.
// It gives their number.
func (s *Service) unassignAll(ctx context.Context, tx *store.Tx, caller *token.Caller, meta Meta, role *identity.Role) (int, error) {
	holders, more, err := tx.AssignmentsOfRole(ctx, role.ID, store.Page{Size: s.cascade})
	if err != nil {
		return 0, err
	}
	if more {
		return 0, s.tooManyUsers("the role", "take it from some service accounts first, or leave it without permissions")
	}
	for i := range holders {
		e := event(caller, meta, audit.RoleUnassigned)
		e.AccountID, e.Subject = holders[i].ServiceAccountID, role.ID
		e.Details = map[string]string{"role": role.Name, "cascade": string(audit.RoleDeleted)}
		tx.Audit(e)
	}
	return len(holders), nil
}

// detachAll records that a resource server leaves the roles and the accounts
// that use it; its deletion does it.
func (s *Service) detachAll(ctx context.Context, tx *store.Tx, caller *token.Caller, meta Meta, rs *identity.ResourceServer, users int) error {
	if users > s.cascade {
		return s.tooManyUsers("the resource server",
			"remove its permissions a few at a time with resource_servers.change_permissions, or give some accounts another default")
	}
	grants, err := tx.GrantedPermissions(ctx, rs.ID, store.All)
	if err != nil {
		return err
	}
	for _, granted := range byRole(grants) {
		names := make([]string, len(granted))
		for i := range granted {
			names[i] = rs.ID + "/" + granted[i].Permission
		}
		e := event(caller, meta, audit.RoleUpdated)
		e.Subject = granted[0].RoleID
		e.Details = map[string]string{"changed": "permissions", "cascade": string(audit.ResourceServerDeleted)}
		gainedAndLost(e.Details, "permissions", names, nil)
		tx.Audit(e)
	}
	accounts, err := tx.AccountsByDefault(ctx, rs.ID)
	if err != nil {
		return err
	}
	for _, id := range accounts {
		e := event(caller, meta, audit.AccountUpdated)
		e.AccountID, e.Subject = id, id
		e.Details = map[string]string{"changed": "default_resource_server", "cascade": string(audit.ResourceServerDeleted)}
		tx.Audit(e)
	}
	return nil
}

// byRole cuts a list in the order of roles into one for each.
func byRole(grants []store.GrantedPermission) [][]store.GrantedPermission {
	var out [][]store.GrantedPermission
	for len(grants) > 0 {
		n := slices.IndexFunc(grants, func(g store.GrantedPermission) bool { return g.RoleID != grants[0].RoleID })
		if n < 0 {
			n = len(grants)
		}
		out = append(out, grants[:n])
		grants = grants[n:]
	}
	return out
}

// counted notes in audit details how many there were, if any.
func counted(d map[string]string, member string, n int) {
	if n > 0 {
		d[member] = strconv.Itoa(n)
	}
}
