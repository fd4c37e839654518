package directory

import (
	"context"
	"net/netip"
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

// NewServiceAccount is the body of a creation. Zero values mean "none".
type NewServiceAccount struct {
	Name                  string
	DisplayName           string
	Description           string
	Kind                  identity.Kind // "" is agent
	Owner                 string
	Labels                map[string]string
	ExpiresAt             time.Time
	TokenLifetime         time.Duration
	TokenRateLimit        int      // tokens a minute
	DefaultResourceServer string   // id of a resource server
	AllowedNetworks       []string // CIDRs
	AllowedCredentials    []identity.CredentialKind
}

// ServiceAccountFilter narrows a list; zero members do not filter.
type ServiceAccountFilter struct {
	Kind          identity.Kind
	Status        identity.Status
	Owner         string
	Labels        map[string]string // all of them, with these values
	NamePrefix    string
	UnusedSince   time.Time // never used, or not since then
	ExpiresBefore time.Time // ends, or has ended, before then
}

// CreateServiceAccount registers an account. It has no rights and no credential yet.
func (s *Service) CreateServiceAccount(ctx context.Context, caller *token.Caller, meta Meta, in NewServiceAccount) (*identity.ServiceAccount, error) {
	if in.Kind == "" {
		in.Kind = identity.KindAgent
	}
	a := &identity.ServiceAccount{
		Name: in.Name, DisplayName: in.DisplayName, Description: in.Description, Kind: in.Kind, Owner: in.Owner,
		Labels: in.Labels, Status: identity.StatusActive, ExpiresAt: instant(in.ExpiresAt),
		TokenLifetime: in.TokenLifetime, TokenRateLimit: in.TokenRateLimit, DefaultResourceServer: in.DefaultResourceServer,
		AllowedCredentials: sortedKinds(in.AllowedCredentials),
	}
	var f identity.Findings
	a.AllowedNetworks = f.Networks("/allowed_networks", in.AllowedNetworks)
	f.CredentialKinds("/allowed_credentials", in.AllowedCredentials)
	f.Future("/expires_at", a.ExpiresAt, s.clock.Now())
	checkAccount(&f, a)
	return once(ctx, s, caller, meta, f.Err(), func(tx *store.Tx) (*identity.ServiceAccount, string, error) {
		if err := checkDefaultResourceServer(ctx, tx, a.DefaultResourceServer); err != nil {
			return nil, "", err
		}
		a.ID = identity.NewID(identity.PrefixServiceAccount, tx.Now)
		if err := tx.InsertServiceAccount(ctx, a); err != nil {
			return nil, "", err
		}
		e := event(caller, meta, audit.AccountCreated)
		e.AccountID, e.Subject = a.ID, a.ID
		e.Details = map[string]string{"name": a.Name, "kind": string(a.Kind), "owner": a.Owner}
		tx.Audit(e)
		return a, a.ID, nil
	})
}

// checkAccount checks all of an account that needs neither a clock nor a database.
func checkAccount(f *identity.Findings, a *identity.ServiceAccount) {
	f.Slug("/name", a.Name)
	f.Text("/display_name", a.DisplayName, identity.MaxDisplayNameLength)
	f.Text("/description", a.Description, identity.MaxDescriptionLength)
	f.Kind("/kind", a.Kind)
	f.RequiredText("/owner", a.Owner, identity.MaxOwnerLength)
	f.Labels("/labels", a.Labels)
	f.Lifetime("/token_lifetime", a.TokenLifetime)
	f.RateLimit("/token_rate_limit", a.TokenRateLimit)
	if a.DefaultResourceServer != "" {
		f.ID("/default_resource_server", identity.PrefixResourceServer, a.DefaultResourceServer)
	}
}

// sortedKinds copies kinds, since their order says nothing.
func sortedKinds(kinds []identity.CredentialKind) []identity.CredentialKind {
	return slices.Sorted(slices.Values(kinds))
}

func checkDefaultResourceServer(ctx context.Context, tx *store.Tx, id string) error {
	if id == "" {
		return nil
	}
	_, err := tx.ResourceServer(ctx, id)
	if fault.Is(err, fault.CodeNotFound) {
		return fault.InvalidFields(fault.Field{Pointer: "/default_resource_server", Detail: "there is no such resource server"})
	}
	return err
}

// GetServiceAccount reads one living account.
func (s *Service) GetServiceAccount(ctx context.Context, _ *token.Caller, id string) (*identity.ServiceAccount, error) {
	var a *identity.ServiceAccount
	err := s.store.View(ctx, func(r *store.Reader) (err error) {
		a, err = readAccount(ctx, r, id)
		return err
	})
	return a, err
}

// ListServiceAccounts lists living accounts, oldest first.
func (s *Service) ListServiceAccounts(ctx context.Context, _ *token.Caller, filter ServiceAccountFilter, ask PageRequest) (Page[identity.ServiceAccount], error) {
	if err := filter.check(); err != nil {
		return Page[identity.ServiceAccount]{}, err
	}
	l := list("service accounts", filter, isID(identity.PrefixServiceAccount))
	return viewPage(ctx, s, l, ask, func(r *store.Reader, at store.Page) ([]identity.ServiceAccount, bool, error) {
		return r.ServiceAccounts(ctx, store.AccountFilter(filter), at)
	}, func(a *identity.ServiceAccount) string { return a.ID })
}

func (filter *ServiceAccountFilter) check() error {
	var f identity.Findings
	if filter.Kind != "" {
		f.Kind("?kind", filter.Kind)
	}
	if filter.Status != "" && filter.Status != identity.StatusActive && filter.Status != identity.StatusDisabled {
		f.Add("?status", "must be %s or %s", identity.StatusActive, identity.StatusDisabled)
	}
	f.Text("?owner", filter.Owner, identity.MaxOwnerLength)
	f.Labels("?label", filter.Labels)
	f.Text("?name_prefix", filter.NamePrefix, identity.MaxNameLength)
	filter.UnusedSince, filter.ExpiresBefore = instant(filter.UnusedSince), instant(filter.ExpiresBefore)
	return f.Err()
}

// isID makes the check of a page position that is an id.
func isID(p identity.Prefix) func(string) bool {
	return func(position string) bool { return identity.ParseID(p, position) == nil }
}

// UpdateServiceAccount applies a merge patch.
func (s *Service) UpdateServiceAccount(ctx context.Context, caller *token.Caller, meta Meta, id string, ifMatch *int64, in ServiceAccountPatch) (*identity.ServiceAccount, error) {
	var out *identity.ServiceAccount
	err := s.change(ctx, caller, func(tx *store.Tx) error {
		a, err := readAccount(ctx, tx.Reader, id)
		if err != nil {
			return err
		}
		out = a
		if err := matches(ifMatch, a.Version); err != nil {
			return err
		}
		before := *a
		p, err := in.apply(a, tx.Now)
		if err != nil || len(p.changed) == 0 {
			return err
		}
		if p.has("default_resource_server") {
			if err := checkDefaultResourceServer(ctx, tx, a.DefaultResourceServer); err != nil {
				return err
			}
		}
		if loosened(&before, p, a) {
			if err := mayActAs(ctx, tx, caller, id); err != nil {
				return err
			}
		}
		err = keepAdministrator(ctx, tx, id, func() error { return tx.UpdateServiceAccount(ctx, a) })
		if err != nil {
			return err
		}
		e := event(caller, meta, audit.AccountUpdated)
		e.AccountID, e.Subject, e.Details = id, id, describe(p, a)
		tx.Audit(e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// loosened reports whether a change brings the account back or widens what
// confines its credentials. Of networks and kinds any change counts: whether one
// list of them is narrower than another is not worth a mistake.
func loosened(before *identity.ServiceAccount, p *patching, after *identity.ServiceAccount) bool {
	return p.has("expires_at") && outlasts(after.ExpiresAt, before.ExpiresAt) ||
		p.has("allowed_networks") || p.has("allowed_credentials") || p.has("token_lifetime")
}

// describe tells the audit log which members changed and, of those that matter
// for who may do what, to which value.
func describe(p *patching, a *identity.ServiceAccount) map[string]string {
	d := map[string]string{"changed": strings.Join(p.changed, " ")}
	for _, member := range p.changed {
		switch member {
		case "name":
			d[member] = a.Name
		case "kind":
			d[member] = string(a.Kind)
		case "owner":
			d[member] = a.Owner
		case "expires_at":
			d[member] = written(a.ExpiresAt)
		case "token_lifetime":
			d[member] = a.TokenLifetime.String()
		case "token_rate_limit":
			d[member] = rateLimit(a.TokenRateLimit)
		case "default_resource_server":
			d[member] = a.DefaultResourceServer
		case "allowed_networks":
			d[member] = writtenNetworks(a.AllowedNetworks)
		case "allowed_credentials":
			kinds := make([]string, 0, len(a.AllowedCredentials))
			for _, k := range a.AllowedCredentials {
				kinds = append(kinds, string(k))
			}
			d[member] = joined(kinds)
		}
	}
	return d
}

func writtenNetworks(list []netip.Prefix) string {
	networks := make([]string, 0, len(list))
	for _, n := range list {
		networks = append(networks, n.String())
	}
	return joined(networks)
}

// rateLimit is a number of tokens a minute in audit details.
func rateLimit(n int) string {
	if n == 0 {
		return "none"
	}
	return strconv.Itoa(n)
}
