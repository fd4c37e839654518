package httpapi

import (
	"context"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/grant"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/operation"
)

// limit takes a call from the quota of the account that makes it. It comes
// after sign-in, so that nobody else uses the quota up, and before everything
// that costs more: the permission, whose refusal is recorded, the body, and the
// use case.
func (s *server) limit(ctx context.Context, k *call, e *endpoint, rates *limit.Rates) error {
	k.standing = rates.Take(k.caller.ClientID, 0, k.at)
	err := k.standing.Err()
	if err == nil {
		return nil
	}
	return s.Grants.RefuseCall(ctx, k.caller, e.ID, k.grantMeta(), err)
}

// refused puts on record that a call was refused whose caller has proved who it
// is, and counts the calls with a token that is no good. Other failures, nil
// among them, pass through. What comes back is what to answer: a refusal that
// cannot be recorded is Unavailable.
func (s *server) refused(ctx context.Context, k *call, e *endpoint, err error) error {
	if err == nil || issues(e) {
		return err
	}
	caller := k.caller
	switch f := fault.From(err); {
	case f.Kind == fault.KindDenied:
	case f.Code == fault.CodeInvalidToken && grant.Gated(err):
		// Its token is good, and used from where, or for what, it may not be.
	case f.Code == fault.CodeInvalidToken:
		caller = nil // also one that has just been revoked: it is nobody any more
	default:
		return err
	}
	return s.Grants.RefuseCall(ctx, caller, e.ID, k.grantMeta(), err)
}

// setRateLimit writes the fields of draft-ietf-httpapi-ratelimit-headers:
// lists of structured fields (RFC 9651) with one member. t is when all of the
// quota is there again; Retry-After of a refusal tells when the next call is.
func setRateLimit(h *fasthttp.ResponseHeader, class operation.LimitClass, s limit.Standing) {
	name := class.String()
	policy := append(make([]byte, 0, 48), '"')
	policy = append(policy, name...)
	policy = append(policy, `";q=`...)
	policy = strconv.AppendInt(policy, int64(s.Quota), 10)
	policy = append(policy, ";w="...)
	policy = strconv.AppendInt(policy, int64(limit.Window/time.Second), 10)

	now := append(make([]byte, 0, 48), '"')
	now = append(now, name...)
	now = append(now, `";r=`...)
	now = strconv.AppendInt(now, int64(s.Remaining), 10)
	now = append(now, ";t="...)
	now = append(now, wholeSeconds(s.Reset)...)

	h.SetCanonical([]byte("RateLimit-Policy"), policy)
	h.SetCanonical([]byte("RateLimit"), now)
}
