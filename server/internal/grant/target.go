package grant

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// The parameters that choose what a token is for (RFC 6749 section 3.3, RFC
// 8707 section 2). Many clients send audience where the RFC has resource.
const (
	paramResource = "resource"
	paramAudience = "audience"
	paramScope    = "scope"
)

// resolve settles audience and scope: what the token is for and what it may do.
//
// An API that goes by the names of roles takes one for all that it means. So the
// token of a credential that gives less than its account holds names the roles
// that are left whole, and no others.
func (e *Endpoint) resolve(ctx context.Context, a *Attempt) error {
	if err := e.target(ctx, a); err != nil {
		return err
	}
	held := a.Client.Principal.Grants[a.ResourceServer.Identifier]
	holds, roles := held.At(a.Now)
	if len(holds) == 0 {
		// The audience is the wrong one, not the scope: no scope would be right.
		// It is also what an unknown resource server gets, so that an account
		// cannot find out which APIs exist where it has no business.
		return invalidTarget(ruleNothingGranted)
	}
	a.Granted, a.Roles = a.credential.Narrow(a.ResourceServer.ID, holds), roles
	if len(a.Granted) == 0 && a.Request.Params.Get(paramScope) == "" {
		return invalidTarget(ruleNothingLeft)
	}
	scopes, err := narrow(a.Request.Params.Get(paramScope), a.Granted)
	if err != nil {
		return outsideCredential(err, a.Request.Params.Get(paramScope), holds)
	}
	if a.credential.Restricted {
		a.Roles = wholeRoles(held, a.Granted, a.Now)
	}
	a.Scopes = scopes
	a.NotAfter = token.Earliest(a.NotAfter, grantEnd(held, a.Scopes, a.Now))
	return nil
}

// target finds the resource server that is asked for, or the account's default.
func (e *Endpoint) target(ctx context.Context, a *Attempt) error {
	resource, audience := a.Request.Params.Get(paramResource), a.Request.Params.Get(paramAudience)
	if resource == "" {
		resource = audience
	} else if audience != "" && audience != resource {
		return fault.Invalid("resource and audience differ; they are two names of one parameter")
	}

	var rs *identity.ResourceServer
	var err error
	switch {
	case resource != "":
		// What the account holds something at is well-formed: it is registered.
		if a.Client.Principal.Grants[resource] == nil && !absoluteURI(resource) {
			return fault.New(fault.KindInvalid, fault.CodeInvalidTarget, "resource must be an absolute URI without a fragment").
				Because(&gated{ruleResourceMalformed})
		}
		rs, err = e.store.ResourceServerByAudience(ctx, resource)
	case a.Client.Principal.Account.DefaultResourceServer != "":
		rs, err = e.store.ResourceServerByID(ctx, a.Client.Principal.Account.DefaultResourceServer)
	default:
		return fault.New(fault.KindInvalid, fault.CodeInvalidTarget,
			"name the API that the token is for with the parameter resource: this account has no default").
			Because(&gated{ruleResourceMissing})
	}
	if fault.Is(err, fault.CodeNotFound) {
		return invalidTarget(ruleResourceUnknown)
	}
	if err != nil {
		return err
	}
	a.ResourceServer = rs
	return nil
}

// invalidTarget says the same to the caller whatever the rule is.
func invalidTarget(rule string) error {
	return fault.New(fault.KindInvalid, fault.CodeInvalidTarget, "there is no such resource, or the account may do nothing there").
		Because(&gated{rule})
}

// absoluteURI is what RFC 8707 section 2 wants of a resource: RFC 3986 section
// 4.3 without a fragment. Whether it exists is another question.
func absoluteURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && !strings.Contains(s, "#")
}

// narrow gives the scopes of the token: all that is granted when nothing is
// asked for, else what is asked for, which may not be more. granted is sorted,
// and so is the result.
func narrow(asked string, granted []string) ([]string, error) {
	if asked == "" {
		return granted, nil
	}
	scopes := make([]string, 0, 8)
	for s := range strings.SplitSeq(asked, " ") {
		if !scopeToken(s) {
			return nil, invalidScope(ruleScopeMalformed, "scope is a list of names with one space between two of them")
		}
		if len(scopes) == token.MaxScopes {
			return nil, invalidScope(ruleTooManyScopes, "a token carries at most %d scopes: ask for less", token.MaxScopes)
		}
		if _, ok := slices.BinarySearch(granted, s); !ok {
			return nil, invalidScope(ruleScopeNotGranted, scopeNotGranted)
		}
		scopes = append(scopes, s)
	}
	slices.Sort(scopes)
	return slices.Compact(scopes), nil
}

// outsideCredential tells a scope that the account does not hold from one that it
// holds and the credential does not give. The caller is told the same.
func outsideCredential(err error, asked string, holds []string) error {
	if g, ok := errors.AsType[*gated](err); !ok || g.reason != ruleScopeNotGranted {
		return err
	}
	if _, other := narrow(asked, holds); other != nil {
		return err
	}
	return invalidScope(ruleScopeOutside, scopeNotGranted)
}

// wholeRoles are the names of the roles that give nothing at the audience beyond
// what is left.
func wholeRoles(g *store.Grant, left []string, now time.Time) []string {
	var names []string
	for i := range g.Sources {
		s := &g.Sources[i]
		lost := func(p string) bool { _, found := slices.BinarySearch(left, p); return !found }
		if (s.ExpiresAt.IsZero() || now.Before(s.ExpiresAt)) && !slices.ContainsFunc(s.Permissions, lost) {
			names = append(names, s.RoleName)
		}
	}
	return names // sources are in the order of names
}

// scopeNotGranted is what the caller is told, whoever does not give it.
const scopeNotGranted = "the scope asks for more than the account's roles and the credential give at this resource"

func invalidScope(rule, format string, args ...any) error {
	return fault.New(fault.KindInvalid, fault.CodeInvalidScope, format, args...).Because(&gated{rule})
}

// scopeToken is the production of that name in RFC 6749 section 3.3.
func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// grantEnd is when the first of the scopes ceases to be granted; zero when all
// are held for good. A role that is assigned until noon must not live on in a
// token until midnight.
func grantEnd(g *store.Grant, scopes []string, now time.Time) time.Time {
	if !slices.ContainsFunc(g.Sources, func(s store.RoleGrant) bool { return !s.ExpiresAt.IsZero() }) {
		return time.Time{}
	}
	var end time.Time
	for _, scope := range scopes {
		var last time.Time // until when this one is held
		for _, s := range g.Sources {
			if _, ok := slices.BinarySearch(s.Permissions, scope); !ok {
				continue
			}
			if s.ExpiresAt.IsZero() {
				last = time.Time{}
				break
			}
			if s.ExpiresAt.After(now) && s.ExpiresAt.After(last) {
				last = s.ExpiresAt
			}
		}
		end = token.Earliest(end, last)
	}
	return end
}
