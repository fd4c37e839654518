package httpapi

import (
	"net/netip"
	"time"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/grant"
	"github.com/marque-id/marque/server/internal/identity"
)

// authorizationQuestion reads which of the two questions it is: the id of a
// request and nothing else, or an account and what goes with it.
func authorizationQuestion(in *api.AuthorizationQuestion) (requestID string, q grant.Question, err error) {
	var f identity.Findings
	if in.RequestID != nil {
		if *in != (api.AuthorizationQuestion{RequestID: in.RequestID}) {
			f.Add("/request_id", "stands alone: what the request was is on record")
		}
		return *in.RequestID, grant.Question{}, f.Err()
	}
	if in.ServiceAccount == nil {
		return "", grant.Question{}, fault.InvalidFields(fault.Field{
			Pointer: "/service_account", Detail: "is needed, unless request_id asks about a request that was made",
		})
	}
	q = grant.Question{
		AccountID: *in.ServiceAccount, CredentialID: value(in.Credential), Resource: value(in.Resource), Scope: value(in.Scope),
	}
	if in.Address != nil {
		if q.Address, err = netip.ParseAddr(*in.Address); err != nil {
			f.Add("/address", "is no IP address")
		}
	}
	return "", q, f.Err()
}

func toExplanation(e *grant.Explanation) api.Explanation {
	out := api.Explanation{
		Decision:  api.ExplanationDecisionRefused,
		Rule:      present(e.Rule),
		Error:     present(string(e.Told)),
		Detail:    e.Detail,
		Audience:  present(e.Audience),
		Scope:     present(e.Scope),
		ExpiresIn: present(int32(e.ExpiresIn / time.Second)), // at most 86400
	}
	if e.Granted {
		out.Decision = api.ExplanationDecisionGranted
	}
	if len(e.Checks) > 0 {
		checks := each(e.Checks, func(c *grant.Check) api.RuleCheck {
			return api.RuleCheck{Rule: c.Rule, Outcome: api.RuleCheckOutcome(c.Outcome), Detail: present(c.Detail)}
		})
		out.Checks = &checks
	}
	if len(e.Roles) > 0 {
		roles := each(e.Roles, clone)
		out.Roles = &roles
	}
	if e.Event != nil {
		event := toAuditEvent(e.Event)
		out.Event = &event
	}
	return out
}
