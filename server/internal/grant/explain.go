package grant

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// Question asks whether a token request would be refused now. What is left out
// of it is not looked at.
type Question struct {
	AccountID    string
	CredentialID string // of the account; "" is the live one that lasts longest, of an allowed kind
	Resource     string
	Scope        string
	Address      netip.Addr // where the request would come from
}

// Explanation says what was, or would be, decided, and by which rule.
type Explanation struct {
	Granted bool
	Rule    string     // the reason of the refusal
	Told    fault.Code // what the caller is told
	Detail  string     // for a human, with evidence

	// Of a question, in the order of the pipeline.
	Checks []Check
	// Of a question whose answer is yes.
	Audience  string
	Scope     string
	Roles     []string
	ExpiresIn time.Duration

	Event *audit.Link // of a request that has been made
}

// Check is one rule of the pipeline and what came of it.
type Check struct {
	Rule    string
	Outcome Outcome
	Detail  string
}

// Outcome says what came of a check.
type Outcome string

// The outcomes. NotReached is also what the question says too little for.
const (
	Passed     Outcome = "passed"
	Failed     Outcome = "failed"
	NotReached Outcome = "not_reached"
)

// ExplainRequest finds the event of a request, by this node or another, and says
// what its reason means.
func (e *Endpoint) ExplainRequest(ctx context.Context, requestID string) (*Explanation, error) {
	if err := identity.ParseID(identity.PrefixRequest, requestID); err != nil {
		return nil, err
	}
	var found *audit.Link
	err := e.store.View(ctx, func(r *store.Reader) (err error) {
		found, err = r.EventOfRequest(ctx, requestID, identity.MadeAt(requestID))
		return err
	})
	if fault.Is(err, fault.CodeNotFound) {
		return nil, fault.New(fault.KindNotFound, fault.CodeNotFound,
			"no event of this request is on record: what only reads leaves none, and refusals of unknown clients, "+
				"and beyond 10 a minute for each account and address, are only counted")
	}
	if err != nil {
		return nil, err
	}
	event := &found.Event
	out := &Explanation{Granted: event.Outcome == audit.Success, Rule: event.Reason, Event: found}
	switch rule, known := ruleOf(event.Reason); {
	case out.Granted:
		out.Detail = event.Type.Doc()
	case known:
		out.Detail, out.Told = rule.Says, told(rule, event)
		if p := event.Details["permission"]; p != "" {
			out.Detail += " It needs " + p + "."
		}
	default:
		out.Detail = "This release has no word for the reason: the event was written by another one."
	}
	return out, nil
}

// told is what the caller was told by the rule: a rule about a sign-in has one
// word for each way to sign in.
func told(rule Rule, e *audit.Event) fault.Code {
	switch {
	case rule.Told != fault.CodeInvalidClient && rule.Told != fault.CodeInvalidAPIKey:
	case e.TokenID != "":
		return fault.CodeInvalidToken
	case identity.ParseID(identity.PrefixAPIKey, e.CredentialID) == nil:
		return fault.CodeInvalidAPIKey
	}
	return rule.Told
}

// Explain answers whether a token request would be refused now, and by which rule.
// The pipeline's own code decides, but for what takes or writes something: no
// budget is charged, nothing is noted as used, and the token, if it comes to one,
// is thrown away. Budgets and quotas are those of this node.
func (e *Endpoint) Explain(ctx context.Context, q Question) (*Explanation, error) {
	r := rehearsal{e: e, q: q, a: Attempt{
		Request: &Request{
			Params: Params{{Name: "grant_type", Value: "client_credentials"}, {Name: paramResource, Value: q.Resource}, {Name: paramScope, Value: q.Scope}},
			Meta:   Meta{Address: q.Address},
		},
		Now: e.clock.Now(),
	}}
	var failed string
	var told fault.Code
	if err := r.run(ctx); err != nil {
		f := fault.From(err)
		if !refusal(f) {
			return nil, f
		}
		r.fault, told = f, f.Code
		failed, _ = refusalReason(&r.a, f)
	}
	if err := r.gatherEvidence(ctx); err != nil {
		return nil, err
	}
	out := &Explanation{Granted: failed == "", Rule: failed, Told: told, Checks: r.checks(failed)}
	if failed != "" {
		rule, _ := ruleOf(failed)
		out.Detail = rule.Says
		if evidence := r.detail(failed, Failed); evidence != "" {
			out.Detail += " " + evidence
		}
		return out, nil
	}
	out.Detail = "A token would be issued."
	out.Audience, out.Roles = r.a.ResourceServer.Identifier, r.a.Roles
	out.Scope, out.ExpiresIn = r.minted.Scope, r.minted.ExpiresIn
	return out, nil
}

// rehearsal is a token request that is only asked about.
type rehearsal struct {
	e      *Endpoint
	q      Question
	a      Attempt
	minted token.Minted
	fault  *fault.Error // of the refusal

	standing limit.Standing
	evidence evidence
}

// run is the pipeline in its order, see Endpoint.decide.
func (r *rehearsal) run(ctx context.Context) (err error) {
	r.a.login = identity.ParseID(identity.PrefixAPIKey, r.q.CredentialID) == nil
	if r.q.Address.IsValid() {
		named := r.q.AccountID
		if r.a.login {
			named = "" // a key names no client
		}
		if err := r.e.failures.Check(named, r.q.Address, r.a.Now); err != nil {
			return err
		}
	}
	if err := r.prove(ctx); err != nil {
		return err
	}
	if err := throughGate(&r.a, &r.a.Request.Meta); err != nil {
		return err
	}
	r.standing = r.e.rates.Look(r.a.account, r.a.Client.Principal.Account.TokenRateLimit, r.a.Now)
	if err := r.standing.Err(); err != nil {
		return err
	}
	r.minted, err = r.e.produce(ctx, &r.a)
	r.minted.Token = "" // nobody's, and on no record
	return err
}

// prove puts the account into the place of one that has proved itself by the
// credential of the question.
func (r *rehearsal) prove(ctx context.Context) error {
	p, err := r.e.store.RefreshPrincipal(ctx, r.q.AccountID)
	if fault.Is(err, fault.CodeNotFound) {
		return r.unproved(clientauth.ReasonUnknownClient)
	}
	if err != nil {
		return err
	}
	r.a.account, r.evidence.principal = p.Account.ID, p
	chosen, reason := chooseCredential(p, r.q.CredentialID, r.a.Now)
	if reason != "" {
		return r.unproved(reason)
	}
	r.evidence.credential, r.a.login = chosen, chosen.Kind == identity.KindAPIKey
	if !r.q.Address.IsValid() {
		// The gate cannot tell for no address; the checks say so.
		p = fromAnywhere(p)
	}
	r.a.Client = clientauth.Client{Principal: p, CredentialID: chosen.ID}
	return nil
}

// fromAnywhere is a copy of the account without any networks.
func fromAnywhere(p *store.Principal) *store.Principal {
	free := *p
	free.Account.AllowedNetworks = nil
	free.APIKeys = slices.Clone(p.APIKeys)
	for i := range free.APIKeys {
		free.APIKeys[i].AllowedNetworks = nil
	}
	return &free
}

func (r *rehearsal) unproved(reason clientauth.Reason) error {
	told := fault.InvalidClient()
	if r.a.login {
		told = fault.InvalidAPIKey()
	}
	return told.Because(&clientauth.Failure{Reason: reason})
}

// chooseCredential gives the credential that is asked about, or the reason why a
// sign-in by it fails. Asked about none, it gives the live one that lasts longest,
// of a kind that the account allows if there is one.
func chooseCredential(p *store.Principal, id string, now time.Time) (identity.Credential, clientauth.Reason) {
	if id != "" {
		switch c, ok := p.Credential(id); {
		case !ok && identity.ParseID(identity.PrefixAPIKey, id) == nil:
			return c, clientauth.ReasonUnknownAPIKey
		case !ok:
			return c, clientauth.ReasonWrongSecret
		case !c.Live(now):
			return c, clientauth.ReasonCredentialExpired
		default:
			return c, ""
		}
	}
	all := p.Credentials()
	if len(all) == 0 {
		return identity.Credential{}, clientauth.ReasonWrongSecret
	}
	slices.SortStableFunc(all, func(a, b identity.Credential) int { return rank(p, &b, now) - rank(p, &a, now) })
	best := all[0]
	for _, c := range all[1:] {
		if rank(p, &c, now) == rank(p, &best, now) && !best.ExpiresAt.IsZero() && (c.ExpiresAt.IsZero() || c.ExpiresAt.After(best.ExpiresAt)) {
			best = c
		}
	}
	if !best.Live(now) {
		return best, clientauth.ReasonCredentialExpired
	}
	return best, ""
}

// rank tells a credential that the account may sign in by from one that it may
// not, and both from one that has ended.
func rank(p *store.Principal, c *identity.Credential, now time.Time) int {
	switch {
	case !c.Live(now):
		return 0
	case !p.Account.AllowsCredential(c.Kind):
		return 1
	}
	return 2
}

// checks are all rules of the pipeline with what came of them. Of the rules of
// one stage, which are asked together, one failed tells nothing about the others.
func (r *rehearsal) checks(failed string) []Check {
	last, _ := ruleOf(failed)
	var out []Check
	for _, rule := range Rules() {
		if rule.stage == 0 {
			continue
		}
		outcome := Passed
		switch {
		case rule.Name == failed:
			outcome = Failed
		case failed != "" && rule.stage >= last.stage, !r.asked(rule.Name):
			outcome = NotReached
		}
		out = append(out, Check{rule.Name, outcome, r.detail(rule.Name, outcome)})
	}
	return out
}

// asked reports whether the question says enough for a rule.
func (r *rehearsal) asked(rule string) bool {
	switch rule {
	case reasonThrottled:
		return r.q.Address.IsValid()
	case reasonNetwork:
		return r.q.Address.IsValid() || len(r.evidence.networks()) == 0
	case reasonCredentialNetwork:
		return r.q.Address.IsValid() || len(r.evidence.credential.AllowedNetworks) == 0
	case string(clientauth.ReasonNoCredentials), string(clientauth.ReasonMalformedSecret), string(clientauth.ReasonMalformedAPIKey):
		return false // the text of the secret is no part of it
	case string(clientauth.ReasonWrongSecret):
		return !r.a.login
	case string(clientauth.ReasonUnknownAPIKey):
		return r.a.login
	}
	return true
}
