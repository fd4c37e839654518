package directory

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// PermissionChanges is what to do with declared permissions.
type PermissionChanges struct {
	Rename []identity.Renaming
	Remove []string
	DryRun bool // only tell what would change
}

// PermissionChangeReport is what a change of declared permissions does. A dry
// run gives the same as the change that follows it, but for the version of the
// resource server and the time of its change.
type PermissionChangeReport struct {
	Applied        bool
	ResourceServer *identity.ResourceServer
	Roles          []ChangedRole // in the order of ids
	Losses         Losses
}

// Losses tell which accounts lose what.
type Losses = store.Losses

// Loss is one permission that one account loses.
type Loss = store.Loss

// ChangedRole is what becomes of the permissions of one role.
type ChangedRole struct {
	ID, Name string
	Renamed  []identity.Renaming
	Removed  []string
}

// ChangePermissions renames and removes declared permissions, in use or not, in
// all roles at once.
func (s *Service) ChangePermissions(ctx context.Context, caller *token.Caller, meta Meta, id string, ifMatch *int64, in PermissionChanges) (*PermissionChangeReport, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	var out *PermissionChangeReport
	err := s.change(ctx, caller, func(tx *store.Tx) error {
		rs, err := changeableResourceServer(ctx, tx, id, ifMatch)
		if err != nil {
			return err
		}
		if err := in.checkDeclared(rs); err != nil {
			return err
		}
		if out, err = s.foresee(ctx, tx, rs, in); err != nil {
			return err
		}
		if err := mayRename(ctx, tx, caller, rs, out.Roles); err != nil {
			return err
		}
		if in.DryRun {
			return nil // nothing is written, so nothing is recorded
		}
		if err := tx.ChangePermissions(ctx, rs, store.PermissionChanges{Rename: in.Rename, Remove: in.Remove}); err != nil {
			return err
		}
		in.record(tx, caller, meta, rs, out.Roles)
		out.Applied = true
		out.ResourceServer, err = tx.ResourceServer(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.inForce(out.ResourceServer)
	return out, nil
}

// check checks all that needs no database. Each name may stand once, old or
// new, so that the order of the changes does not matter.
func (in *PermissionChanges) check() error {
	var f identity.Findings
	if len(in.Rename)+len(in.Remove) == 0 {
		f.Add("", "must name a permission to rename or to remove")
	}
	if len(in.Rename)+len(in.Remove) > identity.MaxPermissions {
		f.Add("", "must not name more than %d permissions", identity.MaxPermissions)
		return f.Err()
	}
	seen := map[string]bool{}
	name := func(pointer, s string) {
		f.Permission(pointer, s)
		if seen[s] {
			f.Add(pointer, "stands in the request twice")
		}
		seen[s] = true
	}
	for i, r := range in.Rename {
		at := "/rename/" + strconv.Itoa(i)
		name(at+"/from", r.From)
		name(at+"/to", r.To)
	}
	for i, s := range in.Remove {
		name("/remove/"+strconv.Itoa(i), s)
	}
	return f.Err()
}

func (in *PermissionChanges) checkDeclared(rs *identity.ResourceServer) error {
	var f identity.Findings
	declared := permissionNames(rs.Permissions)
	for i, r := range in.Rename {
		at := "/rename/" + strconv.Itoa(i)
		if !slices.Contains(declared, r.From) {
			f.Add(at+"/from", "is not declared by the resource server")
		}
		if slices.Contains(declared, r.To) {
			f.Add(at+"/to", "is declared by the resource server already")
		}
	}
	for i, s := range in.Remove {
		if !slices.Contains(declared, s) {
			f.Add("/remove/"+strconv.Itoa(i), "is not declared by the resource server")
		}
	}
	return f.Err()
}

// foresee tells what the changes will do.
func (s *Service) foresee(ctx context.Context, tx *store.Tx, rs *identity.ResourceServer, in PermissionChanges) (*PermissionChangeReport, error) {
	changes := store.PermissionChanges{Rename: in.Rename, Remove: in.Remove}
	grants, err := tx.GrantedPermissions(ctx, rs.ID, s.cascade+1, changes.Names()...)
	if err != nil {
		return nil, err
	}
	if len(grants) > s.cascade {
		return nil, s.tooManyUsers("what these permissions are granted by", "change fewer of them at a time, or take them from some roles first")
	}
	out := &PermissionChangeReport{ResourceServer: in.applied(rs)}
	to := in.newNames()
	for _, granted := range byRole(grants) {
		role := ChangedRole{ID: granted[0].RoleID, Name: granted[0].RoleName}
		for _, g := range granted {
			if n, renamed := to[g.Permission]; renamed {
				role.Renamed = append(role.Renamed, identity.Renaming{From: g.Permission, To: n})
			} else {
				role.Removed = append(role.Removed, g.Permission)
			}
		}
		out.Roles = append(out.Roles, role)
	}
	// Only by a removal does anybody lose something: what is renamed, whoever
	// held it holds under its new name.
	out.Losses, err = tx.Losses(ctx, rs.ID, in.Remove, tx.Now)
	return out, err
}

func (in *PermissionChanges) newNames() map[string]string {
	to := make(map[string]string, len(in.Rename))
	for _, r := range in.Rename {
		to[r.From] = r.To
	}
	return to
}

// applied is the resource server with its permissions changed, in their order.
func (in *PermissionChanges) applied(rs *identity.ResourceServer) *identity.ResourceServer {
	out := *rs
	out.Permissions = make([]identity.Permission, 0, len(rs.Permissions))
	to := in.newNames()
	for _, p := range rs.Permissions {
		if slices.Contains(in.Remove, p.Name) {
			continue
		}
		if name, renamed := to[p.Name]; renamed {
			p.Name = name
		}
		out.Permissions = append(out.Permissions, p)
	}
	slices.SortFunc(out.Permissions, func(a, b identity.Permission) int { return strings.Compare(a.Name, b.Name) })
	return &out
}

// record queues an event for the resource server and one for each role.
func (in *PermissionChanges) record(tx *store.Tx, caller *token.Caller, meta Meta, rs *identity.ResourceServer, roles []ChangedRole) {
	e := event(caller, meta, audit.ResourceServerUpdated)
	e.Subject, e.Audience = rs.ID, rs.Identifier
	e.Details = permissionDetails("", in.Rename, in.Remove)
	tx.Audit(e)
	for _, role := range roles {
		e := event(caller, meta, audit.RoleUpdated)
		e.Subject = role.ID
		e.Details = permissionDetails(rs.ID+"/", role.Renamed, role.Removed)
		tx.Audit(e)
	}
}

// permissionDetails tell renamings both as what they are and as a loss and a gain, for
// whoever looks for where a name came from.
func permissionDetails(prefix string, renamed []identity.Renaming, removed []string) map[string]string {
	var before, after, pairs []string
	for _, r := range renamed {
		before, after = append(before, prefix+r.From), append(after, prefix+r.To)
		pairs = append(pairs, r.From+"="+r.To)
	}
	for _, name := range removed {
		before = append(before, prefix+name)
	}
	d := map[string]string{"changed": "permissions"}
	gainedAndLost(d, "permissions", before, after)
	if len(pairs) > 0 {
		d["permissions_renamed"] = strings.Join(pairs, " ")
	}
	return d
}

// mayRename holds renamings against the escalation rule: wherever a role grants
// the old name, it will grant the new one.
func mayRename(ctx context.Context, tx *store.Tx, caller *token.Caller, rs *identity.ResourceServer, roles []ChangedRole) error {
	wanted := rights{}
	for _, role := range roles {
		for _, r := range role.Renamed {
			wanted.add(rs.Identifier, r.To, time.Time{})
		}
	}
	return mayGrant(ctx, tx, caller, wanted)
}
