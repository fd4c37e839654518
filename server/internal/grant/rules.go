package grant

import (
	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/fault"
)

// The rules of what a token is for. Their names are the reasons in the audit log;
// the caller is told the code of the fault and no more.
const (
	ruleResourceMissing   = "resource_missing"
	ruleResourceMalformed = "resource_malformed"
	ruleResourceUnknown   = "resource_unknown"
	ruleNothingGranted    = "nothing_granted"
	ruleNothingLeft       = "nothing_left_by_credential"
	ruleScopeMalformed    = "scope_malformed"
	ruleScopeNotGranted   = "scope_not_granted"
	ruleScopeOutside      = "scope_outside_credential"
	ruleTooManyScopes     = "too_many_scopes"
	ruleTooLarge          = "token_too_large"
)

// Rule is one by which a request is refused.
type Rule struct {
	Name string     // the reason in the audit log
	Says string     // one sentence, for who may know it
	Told fault.Code // what the caller is told instead

	// stage is where the rule stands in the token pipeline: rules of one stage are
	// asked together, those of a later one not before. Zero: it is none of a token
	// request, but of a call of the management API.
	stage int
}

// Rules are all of them, in the order in which the pipeline asks. The list is
// closed: no other word is ever a reason.
func Rules() []Rule {
	return []Rule{
		{reasonThrottled, "Too many sign-ins failed from the address, or for the client at the address: tries are not looked at until some time has passed.", fault.CodeRateLimited, 1},
		{string(clientauth.ReasonNoCredentials), "The request proves no client: it carries no credential of a kind that is known.", fault.CodeInvalidClient, 2},
		{string(clientauth.ReasonMalformedAPIKey), "The API key is none of ours: cut off, mistyped, or something else.", fault.CodeMalformedAPIKey, 2},
		{string(clientauth.ReasonUnknownClient), "There is no such service account, or it was deleted.", fault.CodeInvalidClient, 3},
		{string(clientauth.ReasonMalformedSecret), "The secret is none of ours: cut off, mistyped, or something else.", fault.CodeInvalidClient, 4},
		{string(clientauth.ReasonWrongSecret), "The service account has no such credential: it never had it, or it was deleted.", fault.CodeInvalidClient, 4},
		{string(clientauth.ReasonUnknownAPIKey), "There is no such API key: there never was, or it was deleted.", fault.CodeInvalidAPIKey, 4},
		{string(clientauth.ReasonCredentialExpired), "The credential has expired.", fault.CodeInvalidClient, 5},
		{reasonDisabled, "The service account is disabled.", fault.CodeInvalidClient, 6},
		{reasonExpired, "The service account has expired.", fault.CodeInvalidClient, 7},
		{reasonKind, "The service account may not sign in by a credential of this kind.", fault.CodeInvalidClient, 8},
		{reasonNetwork, "The request comes from an address outside the networks that the service account may sign in from.", fault.CodeInvalidClient, 9},
		{reasonCredentialNetwork, "The request comes from an address outside the networks that the credential may be used from.", fault.CodeInvalidAPIKey, 10},
		{reasonRate, "The service account calls more often than its quota allows.", fault.CodeRateLimited, 11},
		{string(fault.CodeInvalidRequest), "The parameters of the request do not go together, or one is missing.", fault.CodeInvalidRequest, 12},
		{string(fault.CodeUnsupportedGrantType), "The request asks for a grant type that does not exist here.", fault.CodeUnsupportedGrantType, 12},
		{ruleResourceMissing, "The request names no resource and the service account has no default one.", fault.CodeInvalidTarget, 13},
		{ruleResourceMalformed, "The resource is no absolute URI without a fragment.", fault.CodeInvalidTarget, 13},
		{ruleResourceUnknown, "There is no resource server with that identifier.", fault.CodeInvalidTarget, 13},
		{ruleNothingGranted, "No live role of the service account gives a permission at the resource server.", fault.CodeInvalidTarget, 14},
		{ruleNothingLeft, "The credential gives none of what the service account holds at the resource server.", fault.CodeInvalidTarget, 15},
		{ruleScopeMalformed, "The scope is no list of names with one space between two of them.", fault.CodeInvalidScope, 16},
		{ruleScopeNotGranted, "The scope asks for a permission that no live role of the service account gives at the resource server.", fault.CodeInvalidScope, 16},
		{ruleScopeOutside, "The scope asks for a permission that the service account holds and the credential does not give.", fault.CodeInvalidScope, 16},
		{ruleTooManyScopes, "The token would carry more scopes than a token may.", fault.CodeInvalidScope, 16},
		{ruleTooLarge, "The token would be larger than a token may be.", fault.CodeInvalidScope, 17},

		{string(fault.CodeInvalidToken), "The bearer token is malformed, expired, revoked or meant for another audience.", fault.CodeInvalidToken, 0},
		{string(fault.CodeInsufficientScope), "The call needs a permission that the token does not carry or the service account no longer holds.", fault.CodeInsufficientScope, 0},
		{string(fault.CodeGrantExceedsCaller), "The call would hand out, or make reachable, a permission that the caller does not hold itself.", fault.CodeGrantExceedsCaller, 0},
		{string(fault.CodeOwnRights), "The call would change the caller's own roles.", fault.CodeOwnRights, 0},
		{string(fault.CodeBuiltIn), "The call would change what is built in.", fault.CodeBuiltIn, 0},
	}
}

// ruleOf finds a rule by its name.
func ruleOf(name string) (Rule, bool) {
	for _, r := range Rules() {
		if r.Name == name {
			return r, true
		}
	}
	return Rule{}, false
}
