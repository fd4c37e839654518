package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

var errAbandoned = errors.New("store: loading was abandoned")

// maxResourceServers bounds the resource servers held in memory.
const maxResourceServers = 10_000

type resourceServers = snapshots[*identity.ResourceServer]

// Principal is an account as the token path needs it: a snapshot, shared by all
// who ask: never write to it. Texts that are there for people and
// decide nothing (names, description, owner, labels, hints) are empty, and its
// last uses are unknown, or those of the moment it was read.
type Principal struct {
	Account identity.ServiceAccount
	Secrets []identity.ClientSecret // undeleted, live or expired, in the order of ids
	APIKeys []identity.APIKey       // likewise
	Grants  map[string]*Grant       // by the identifier (aud) of the resource server
}

// Credential is the undeleted credential with that id, of whatever kind.
func (p *Principal) Credential(id string) (c identity.Credential, ok bool) {
	for i := range p.Secrets {
		if p.Secrets[i].ID == id {
			return p.Secrets[i].Credential(), true
		}
	}
	for i := range p.APIKeys {
		if p.APIKeys[i].ID == id {
			return p.APIKeys[i].Credential(), true
		}
	}
	return c, false
}

// Credentials are all of them, in the order of kinds and ids.
func (p *Principal) Credentials() []identity.Credential {
	all := make([]identity.Credential, 0, len(p.Secrets)+len(p.APIKeys))
	for i := range p.Secrets {
		all = append(all, p.Secrets[i].Credential())
	}
	for i := range p.APIKeys {
		all = append(all, p.APIKeys[i].Credential())
	}
	return all
}

// Grant is what an account may do at one resource server, by its roles.
type Grant struct {
	ResourceServerID string
	Sources          []RoleGrant // in the order of role names

	permissions, roles []string // of a grant without any end date, made once
}

// RoleGrant is what one role gives at one resource server.
type RoleGrant struct {
	RoleID      string
	RoleName    string
	Permissions []string  // sorted
	ExpiresAt   time.Time // zero: for good
}

// At is what holds at the given time: the permissions and the names of the
// roles that give them, sorted and without repetition. The slices may be
// shared: do not write to them. A nil Grant gives nothing.
func (g *Grant) At(now time.Time) (permissions, roles []string) {
	if g == nil {
		return nil, nil
	}
	if g.roles != nil {
		return g.permissions, g.roles
	}
	for i := range g.Sources {
		if s := &g.Sources[i]; s.ExpiresAt.IsZero() || now.Before(s.ExpiresAt) {
			roles = append(roles, s.RoleName)
			permissions = append(permissions, s.Permissions...)
		}
	}
	return sortedSet(permissions), sortedSet(roles)
}

func sortedSet(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// Principal is the account with that client_id, from memory when it is known
// there (no SQL). An unknown one asks the database at most once a second.
func (s *Store) Principal(ctx context.Context, clientID string) (*Principal, error) {
	p, err := s.principals.get(ctx, clientID, whatAccount)
	if err != nil {
		return nil, err
	}
	return s.unpacked.of(clientID, p), nil
}

// RefreshPrincipal reads the account anew, at most once a second: for a
// credential that a known account is not known to have, as when it was made a
// moment ago on another node.
func (s *Store) RefreshPrincipal(ctx context.Context, clientID string) (*Principal, error) {
	p, err := s.principals.refresh(ctx, clientID, whatAccount)
	if err != nil {
		return nil, err
	}
	return s.unpacked.of(clientID, p), nil
}

// ResourceServerByAudience answers from memory; do not write to the result.
func (s *Store) ResourceServerByAudience(ctx context.Context, identifier string) (*identity.ResourceServer, error) {
	return s.byAudience.get(ctx, identifier, whatResourceServer)
}

// ResourceServerByID answers from memory; do not write to the result.
func (s *Store) ResourceServerByID(ctx context.Context, id string) (*identity.ResourceServer, error) {
	return s.byID.get(ctx, id, whatResourceServer)
}

func (s *Store) loadResourceServerByID(ctx context.Context, id string) (*identity.ResourceServer, error) {
	return s.poolReader().ResourceServer(ctx, id)
}

func (s *Store) loadResourceServerByAudience(ctx context.Context, identifier string) (*identity.ResourceServer, error) {
	return s.poolReader().ResourceServerByIdentifier(ctx, identifier)
}

// poolReader reads without a transaction: enough for one statement, and for a
// snapshot, which a change that lands between two of them makes stale anyway.
func (s *Store) poolReader() *Reader { return &Reader{s, s.engine.reader()} }

// EffectivePermissions is what the account may do at the given time, by the
// identifier of the resource server.
func (r *Reader) EffectivePermissions(ctx context.Context, accountID string, now time.Time) (map[string]*Grant, error) {
	if !known(accountID) {
		return nil, nil
	}
	rows, err := r.grantRows(ctx, accountID)
	if err != nil {
		return nil, err
	}
	live := rows[:0]
	for _, row := range rows {
		if at := fromMicros(row.ExpiresAt); at.IsZero() || now.Before(at) {
			live = append(live, row)
		}
	}
	grants, _ := buildGrants(live)
	return grants, nil
}

type grantRow struct {
	RoleID           string
	RoleName         string
	ExpiresAt        int64
	ResourceServerID string
	Identifier       string
	Permission       string
}

func (r *Reader) grantRows(ctx context.Context, accountID string) ([]grantRow, error) {
	rows, err := r.db.QueryContext(ctx, grantQuery+"?", accountID)
	if err != nil {
		return nil, translate(err)
	}
	return scanGrants(rows)
}

// scanGrants reads the answer to grantQuery, in the order that buildGrants needs.
func scanGrants(rows *sql.Rows) ([]grantRow, error) {
	defer func() { _ = rows.Close() }() // read to the end or given up: both leave nothing
	var list []grantRow
	for rows.Next() {
		var r grantRow
		if err := rows.Scan(&r.RoleID, &r.RoleName, &r.ExpiresAt, &r.ResourceServerID, &r.Identifier, &r.Permission); err != nil {
			return nil, translate(err)
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b grantRow) int {
		return cmp.Or(strings.Compare(a.Identifier, b.Identifier), strings.Compare(a.RoleName, b.RoleName), strings.Compare(a.Permission, b.Permission))
	})
	return list, translate(rows.Err())
}

// buildGrants groups sorted rows by resource server and role.
func buildGrants(rows []grantRow) (grants map[string]*Grant, roles []string) {
	grants = map[string]*Grant{}
	for _, row := range rows {
		roles = append(roles, row.RoleID)
		if row.Identifier == "" {
			continue // a role that grants nothing, or nothing that is left
		}
		g := grants[row.Identifier]
		if g == nil {
			g = &Grant{ResourceServerID: row.ResourceServerID}
			grants[row.Identifier] = g
		}
		if n := len(g.Sources); n == 0 || g.Sources[n-1].RoleID != row.RoleID {
			g.Sources = append(g.Sources, RoleGrant{RoleID: row.RoleID, RoleName: row.RoleName, ExpiresAt: fromMicros(row.ExpiresAt)})
		}
		source := &g.Sources[len(g.Sources)-1]
		source.Permissions = append(source.Permissions, row.Permission)
	}
	for _, g := range grants {
		if !slices.ContainsFunc(g.Sources, func(r RoleGrant) bool { return !r.ExpiresAt.IsZero() }) {
			g.permissions, g.roles = g.At(time.Time{})
		}
	}
	return grants, sortedSet(roles)
}

// grantPool lets accounts with the same roles share one value: ten thousand
// agents of one kind hold their permissions in memory once.
type grantPool struct {
	mu     sync.Mutex
	shared map[string]*sharedGrants
}

type sharedGrants struct {
	grants map[string]*Grant
	roles  []string // ids of all roles that are assigned, also of those that grant nothing
}

const maxShared = 4096

func newGrantPool() *grantPool { return &grantPool{shared: map[string]*sharedGrants{}} }

func (p *grantPool) share(rows []grantRow) *sharedGrants {
	var b strings.Builder
	for _, r := range rows {
		for _, word := range []string{r.RoleID, r.RoleName, strconv.FormatInt(r.ExpiresAt, 10), r.ResourceServerID, r.Identifier, r.Permission} {
			b.WriteString(word)
			b.WriteByte(0) // stands in no text that is stored
		}
	}
	key := b.String()
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.shared[key]; v != nil {
		return v
	}
	if len(p.shared) >= maxShared {
		clear(p.shared)
	}
	v := new(sharedGrants)
	v.grants, v.roles = buildGrants(rows)
	p.shared[key] = v
	return v
}

func (p *grantPool) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.shared)
}

// forget drops from the caches what the changes concern, and remembers the
// revocations among them.
func (s *Store) forget(list []change) {
	for i := range list {
		c := &list[i]
		switch c.Kind {
		case ChangedServiceAccount:
			s.principals.forget(c.Ref)
		case ChangedRole:
			s.grants.clear()
			s.principals.forgetIf(func(p packedPrincipal) bool { return slices.Contains(p.shared.roles, c.Ref) })
		case ChangedResourceServer:
			s.grants.clear()
			s.principals.forgetIf(func(p packedPrincipal) bool { return p.mentions(c.Ref) })
			s.byID.forget(c.Ref)
			s.byAudience.forgetIf(func(rs *identity.ResourceServer) bool { return rs.ID == c.Ref })
		case ChangedTokenRevoked, ChangedRevoked:
			if r, ok := c.revocation(); ok {
				s.revocations.put(&r)
			}
		case ChangedSigningKey: // the keyring's
		}
	}
}

func (s *Store) forgetAll() {
	s.grants.clear()
	s.principals.forgetIf(func(packedPrincipal) bool { return true })
	s.byID.forgetIf(func(*identity.ResourceServer) bool { return true })
	s.byAudience.forgetIf(func(*identity.ResourceServer) bool { return true })
}
