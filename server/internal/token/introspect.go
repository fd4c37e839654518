package token

import (
	"context"
	"slices"

	"github.com/marque-id/marque/server/internal/identity"
)

// Introspection is the answer of RFC 7662 section 2.2. When Active is false
// there is nothing else in it: why a token is no good is nobody's business.
type Introspection struct {
	Active bool
	Token  Known // when it is active
}

// Known is a token of ours whose text and signature were found good, which they
// are for good. Whether it still stands must be asked.
type Known struct{ verified *verified }

// Size is what it takes in memory, in bytes.
func (k Known) Size() int { return k.verified.size() }

// AppendJSON writes the whole response body. The claims go out as they were
// signed: the payload is a JSON object of ours that has been verified.
func (i *Introspection) AppendJSON(b []byte) []byte {
	if !i.Active {
		return append(b, `{"active":false}`...)
	}
	const beginning = `{"active":true,"token_type":"Bearer",`
	b = slices.Grow(b, len(beginning)+len(i.Token.verified.payload))
	b = append(b, beginning...)
	return append(b, i.Token.verified.payload[1:]...)
}

// Introspect describes a token to a caller that has signed in. Only those see a
// token as active that its resource server lists as introspectors, or that may
// tokens:introspect; for all others it is as inactive as garbage is. An account
// does not see its own tokens by being their owner. An error means that the
// question could not be answered, never that the token is no good.
func (s *Service) Introspect(ctx context.Context, caller *Caller, raw string) (Introspection, error) {
	// First, so that garbage too gets 503 while nothing can be told: the answer
	// must not depend on how far a token got.
	if err := s.checker.fresh(); err != nil {
		return Introspection{}, err
	}
	v, err := s.checker.verify(raw)
	if err != nil {
		s.checker.explain(ctx, nil, err)
		return Introspection{}, nil
	}
	return s.introspect(ctx, caller, v)
}

// IntrospectKnown is Introspect for a token that it has found active before.
func (s *Service) IntrospectKnown(ctx context.Context, caller *Caller, k Known) (Introspection, error) {
	if err := s.checker.fresh(); err != nil {
		return Introspection{}, err
	}
	return s.introspect(ctx, caller, k.verified)
}

func (s *Service) introspect(ctx context.Context, caller *Caller, v *verified) (Introspection, error) {
	st, why, err := s.checker.judge(ctx, v)
	if err != nil {
		return Introspection{}, err
	}
	if why == good && !CanIntrospect(caller, st.server) {
		why = reasonNotShown
	}
	if why == good && !listed(caller, st.server) {
		s.cfg.Store.Used(caller.ClientID, identity.ManagementResourceServerID, identity.PermTokensIntrospect, st.at)
	}
	if why != good {
		s.checker.explain(ctx, v, why)
		return Introspection{}, nil
	}
	return Introspection{Active: true, Token: Known{v}}, nil
}

// CanIntrospect reports whether the caller may see the tokens of a resource
// server. Being listed there is a trust in the account and not a management
// permission, so that it holds for every token of the account, however narrow.
func CanIntrospect(caller *Caller, rs *identity.ResourceServer) bool {
	return listed(caller, rs) || caller.Has(identity.PermTokensIntrospect)
}

func listed(caller *Caller, rs *identity.ResourceServer) bool {
	return slices.Contains(rs.Introspectors, caller.ClientID)
}
