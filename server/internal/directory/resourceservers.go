package directory

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// NewResourceServer is the body of a creation.
type NewResourceServer struct {
	Identifier       string
	Name             string
	Permissions      []identity.Permission
	TokenLifetimeMax time.Duration // zero: the server's own maximum
	SigningAlg       string        // "" is ES256
	Introspectors    []string      // ids of service accounts
}

// ResourceServerFilter narrows a list; zero members do not filter.
type ResourceServerFilter struct {
	Identifier string // exactly this one
	NamePrefix string
}

// CreateResourceServer registers an API that accepts our tokens.
func (s *Service) CreateResourceServer(ctx context.Context, caller *token.Caller, meta Meta, in NewResourceServer) (*identity.ResourceServer, error) {
	if in.SigningAlg == "" {
		in.SigningAlg = identity.SigningAlgorithms()[0]
	}
	rs := &identity.ResourceServer{
		Identifier: in.Identifier, Name: in.Name, Permissions: in.Permissions, TokenLifetimeMax: in.TokenLifetimeMax,
		SigningAlg: in.SigningAlg, Introspectors: in.Introspectors,
	}
	var f identity.Findings
	f.Identifier("/identifier", rs.Identifier)
	checkResourceServer(&f, rs)
	invalid := f.Err()
	var first *store.SigningKey
	if invalid == nil {
		first, invalid = s.firstKey(rs.SigningAlg)
	}
	out, err := once(ctx, s, caller, meta, invalid, func(tx *store.Tx) (*identity.ResourceServer, string, error) {
		if err := checkIntrospectors(ctx, tx, rs.Introspectors, nil); err != nil {
			return nil, "", err
		}
		if err := s.chooseAlgorithm(ctx, tx, caller, meta, rs, "", first); err != nil {
			return nil, "", err
		}
		if err := nameIsFree(ctx, tx, rs.Name); err != nil {
			return nil, "", err
		}
		rs.ID = identity.NewID(identity.PrefixResourceServer, tx.Now)
		if err := tx.InsertResourceServer(ctx, rs); err != nil {
			return nil, "", err
		}
		e := event(caller, meta, audit.ResourceServerCreated)
		e.Subject, e.Audience = rs.ID, rs.Identifier
		e.Details = map[string]string{"name": rs.Name, "permissions": joined(permissionNames(rs.Permissions))}
		tx.Audit(e)
		out, err := tx.ResourceServer(ctx, rs.ID) // with its lists in the order of every later answer
		return out, rs.ID, err
	})
	if err != nil {
		return nil, err
	}
	s.inForce(out)
	return out, nil
}

// nameIsFree keeps the names of resource servers unique. Write transactions run
// one after another, so that what is free here is free at the commit.
func nameIsFree(ctx context.Context, tx *store.Tx, name string) error {
	for other, err := range each(func(at store.Page) ([]identity.ResourceServer, bool, error) {
		return tx.ResourceServers(ctx, store.ResourceServerFilter{NamePrefix: name}, at)
	}, func(rs *identity.ResourceServer) string { return rs.ID }) {
		if err != nil {
			return err
		}
		if other.Name == name {
			return fault.New(fault.KindConflict, fault.CodeNameTaken, "the name is taken by another resource server")
		}
	}
	return nil
}

// checkResourceServer checks all that a patch may change and that needs no database.
func checkResourceServer(f *identity.Findings, rs *identity.ResourceServer) {
	f.Slug("/name", rs.Name)
	f.DeclaredPermissions("/permissions", rs.Permissions)
	f.Lifetime("/token_lifetime_max", rs.TokenLifetimeMax)
	f.SigningAlg("/signing_alg", rs.SigningAlg)
	if len(rs.Introspectors) > identity.MaxIntrospectors {
		f.Add("/introspectors", "must not have more than %d items", identity.MaxIntrospectors)
		return
	}
	for i, id := range rs.Introspectors {
		at := "/introspectors/" + strconv.Itoa(i)
		if f.ID(at, identity.PrefixServiceAccount, id) && slices.Contains(rs.Introspectors[:i], id) {
			f.Add(at, "stands in the list twice")
		}
	}
}

// checkIntrospectors looks up the ones that are new: one that stood there
// before and was deleted since is no reason to refuse another change.
func checkIntrospectors(ctx context.Context, tx *store.Tx, ids, before []string) error {
	var f identity.Findings
	for i, id := range ids {
		if slices.Contains(before, id) {
			continue
		}
		_, err := tx.ServiceAccount(ctx, id)
		if fault.Is(err, fault.CodeNotFound) {
			f.Add("/introspectors/"+strconv.Itoa(i), "there is no such service account")
		} else if err != nil {
			return err
		}
	}
	return f.Err()
}

func permissionNames(permissions []identity.Permission) []string {
	out := make([]string, 0, len(permissions))
	for _, p := range permissions {
		out = append(out, p.Name)
	}
	slices.Sort(out)
	return out
}

// GetResourceServer reads one resource server.
func (s *Service) GetResourceServer(ctx context.Context, _ *token.Caller, id string) (*identity.ResourceServer, error) {
	var rs *identity.ResourceServer
	err := s.store.View(ctx, func(r *store.Reader) (err error) {
		rs, err = readResourceServer(ctx, r, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.inForce(rs)
	return rs, nil
}

func readResourceServer(ctx context.Context, r *store.Reader, id string) (*identity.ResourceServer, error) {
	if err := identity.ParseID(identity.PrefixResourceServer, id); err != nil {
		return nil, err
	}
	return r.ResourceServer(ctx, id)
}

// ListResourceServers lists resource servers, the built-in one first.
func (s *Service) ListResourceServers(ctx context.Context, _ *token.Caller, filter ResourceServerFilter, ask PageRequest) (Page[identity.ResourceServer], error) {
	var f identity.Findings
	f.Text("?identifier", filter.Identifier, identity.MaxIdentifierLength)
	f.Text("?name_prefix", filter.NamePrefix, identity.MaxNameLength)
	if err := f.Err(); err != nil {
		return Page[identity.ResourceServer]{}, err
	}
	l := list("resource servers", filter, isID(identity.PrefixResourceServer))
	return viewPage(ctx, s, l, ask, func(r *store.Reader, at store.Page) ([]identity.ResourceServer, bool, error) {
		items, more, err := r.ResourceServers(ctx, store.ResourceServerFilter(filter), at)
		for i := range items {
			s.inForce(&items[i])
		}
		return items, more, err
	}, func(rs *identity.ResourceServer) string { return rs.ID })
}

// DeleteResourceServer ends an API's registration; its tokens are good for
// nothing from then on. With cascade its permissions leave the roles, and the
// accounts whose default it is have none.
func (s *Service) DeleteResourceServer(ctx context.Context, caller *token.Caller, meta Meta, id string, ifMatch *int64, cascade bool) error {
	return s.change(ctx, caller, func(tx *store.Tx) error {
		rs, err := changeableResourceServer(ctx, tx, id, ifMatch)
		if err != nil {
			return err
		}
		roles, err := tx.ResourceServerUse(ctx, id)
		if err != nil {
			return err
		}
		accounts, err := tx.DefaultUse(ctx, id)
		if err != nil {
			return err
		}
		if !cascade {
			if err := inUse("the resource server", "cascade=true takes it from them",
				use{"role(s)", roles}, use{"service account(s) as their default", accounts}); err != nil {
				return err
			}
		}
		if err := s.detachAll(ctx, tx, caller, meta, rs, roles.Count+accounts.Count); err != nil {
			return err
		}
		if err := tx.DeleteResourceServer(ctx, rs); err != nil {
			return err
		}
		e := event(caller, meta, audit.ResourceServerDeleted)
		e.Subject, e.Audience = id, rs.Identifier
		e.Details = map[string]string{"name": rs.Name}
		counted(e.Details, "roles", roles.Count)
		counted(e.Details, "defaults", accounts.Count)
		tx.Audit(e)
		return nil
	})
}

func changeableResourceServer(ctx context.Context, tx *store.Tx, id string, ifMatch *int64) (*identity.ResourceServer, error) {
	rs, err := readResourceServer(ctx, tx.Reader, id)
	if err != nil {
		return nil, err
	}
	if rs.BuiltIn {
		return nil, builtIn("resource server")
	}
	return rs, matches(ifMatch, rs.Version)
}

// difference gives what stands in a and not in b.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// gainedAndLost notes in audit details how a set changed.
func gainedAndLost(d map[string]string, member string, before, after []string) {
	d[member+"_added"] = strings.Join(difference(after, before), " ")
	d[member+"_removed"] = strings.Join(difference(before, after), " ")
}
