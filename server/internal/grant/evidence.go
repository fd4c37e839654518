package grant

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// evidence is what an explanation tells beside the rule. No decision rests on it.
type evidence struct {
	principal  *store.Principal         // as the pipeline sees the account; nil for an unknown one
	credential identity.Credential      // that the account would sign in by; zero when there is none
	account    *identity.ServiceAccount // as it stands in the database; nil when it is not there
	tombstone  *store.Tombstone         // of a deleted one
	disabled   *audit.Link              // the event of its disabling, unless it was changed since
}

func (v *evidence) networks() []netip.Prefix {
	if v.principal == nil {
		return nil
	}
	return v.principal.Account.AllowedNetworks
}

// gatherEvidence reads what only people want to know.
func (r *rehearsal) gatherEvidence(ctx context.Context) error {
	v := &r.evidence
	return r.e.store.View(ctx, func(db *store.Reader) (err error) {
		v.account, err = db.ServiceAccount(ctx, r.q.AccountID)
		if fault.Is(err, fault.CodeNotFound) {
			v.account = nil
			v.tombstone, err = db.ServiceAccountTombstone(ctx, r.q.AccountID)
			if fault.Is(err, fault.CodeNotFound) {
				v.tombstone, err = nil, nil
			}
			return err
		}
		if err != nil || v.account.Status != identity.StatusDisabled {
			return err
		}
		v.disabled, err = db.EventOfAccount(ctx, audit.AccountDisabled, v.account.ID, v.account.UpdatedAt)
		if fault.Is(err, fault.CodeNotFound) {
			v.disabled, err = nil, nil
		}
		return err
	})
}

// detail is the evidence for what came of a rule, "" where there is none.
func (r *rehearsal) detail(rule string, outcome Outcome) string {
	if outcome == NotReached {
		return r.unasked(rule)
	}
	failed := outcome == Failed
	switch rule {
	case reasonThrottled:
		return r.ofFailures(failed)
	case string(clientauth.ReasonUnknownClient):
		return r.ofAccount(failed)
	case string(clientauth.ReasonWrongSecret), string(clientauth.ReasonUnknownAPIKey), string(clientauth.ReasonCredentialExpired):
		return r.ofCredentials(rule, failed)
	case reasonDisabled:
		return r.ofStatus(failed)
	case reasonExpired:
		return until("The account", r.evidence.principal.Account.ExpiresAt, failed)
	case reasonKind:
		return r.ofKind(failed)
	case reasonNetwork:
		return r.ofNetworks("The account", r.evidence.networks(), failed)
	case reasonCredentialNetwork:
		return r.ofNetworks("The credential", r.evidence.credential.AllowedNetworks, failed)
	case reasonRate:
		return r.ofQuota(failed)
	case ruleResourceMissing, ruleResourceMalformed, ruleResourceUnknown:
		return r.ofResource(failed)
	case ruleNothingGranted:
		return r.ofRoles(failed)
	case ruleNothingLeft, ruleScopeOutside:
		return r.ofSubset(rule, failed)
	case ruleScopeMalformed, ruleScopeNotGranted, ruleTooManyScopes:
		return r.ofScope(rule, failed)
	}
	if failed {
		return sentence(r.fault.Detail)
	}
	return ""
}

// unasked says why a rule was not looked at, where the question is the cause.
func (r *rehearsal) unasked(rule string) string {
	if r.asked(rule) {
		return ""
	}
	switch rule {
	case reasonThrottled:
		return "The question names no address."
	case reasonNetwork:
		return "The question names no address. Allowed is " + joined(r.evidence.networks()) + "."
	case reasonCredentialNetwork:
		return "The question names no address. Allowed is " + joined(r.evidence.credential.AllowedNetworks) + "."
	case string(clientauth.ReasonWrongSecret):
		return "The question is about an API key."
	case string(clientauth.ReasonUnknownAPIKey):
		return "The question is about no API key."
	}
	return "The text of the secret is no part of the question."
}

func (r *rehearsal) ofFailures(failed bool) string {
	if failed {
		return fmt.Sprintf("At the node that answers, for another %s.", wait(r.fault.RetryAfter))
	}
	return fmt.Sprintf("The node that answers would look at a sign-in from %s.", r.q.Address)
}

func (r *rehearsal) ofAccount(failed bool) string {
	v := &r.evidence
	switch {
	case v.tombstone != nil:
		return fmt.Sprintf("The account %q was deleted at %s.", v.tombstone.Name, moment(v.tombstone.DeletedAt))
	case failed || v.account == nil:
		return ""
	}
	return fmt.Sprintf("The account is %q, for which %s answers.", v.account.Name, v.account.Owner)
}

func (r *rehearsal) ofCredentials(rule string, failed bool) string {
	all := r.evidence.principal.Credentials()
	if rule != string(clientauth.ReasonCredentialExpired) {
		switch {
		case failed && r.q.CredentialID != "":
			return fmt.Sprintf("It has no %s.", r.q.CredentialID)
		case failed:
			return "It has none at all."
		}
		return fmt.Sprintf("The account has %d credential(s).", len(all))
	}
	live := 0
	for i := range all {
		if all[i].Live(r.a.Now) {
			live++
		}
	}
	about := r.q.CredentialID
	if about == "" && r.a.Client.Principal != nil {
		about = r.a.Client.CredentialID
	}
	if c, ok := r.evidence.principal.Credential(about); ok {
		return fmt.Sprintf("%d of %d credential(s) are live. %s", live, len(all), until("The credential "+about, c.ExpiresAt, failed))
	}
	return fmt.Sprintf("%d of %d credential(s) are live.", live, len(all))
}

func (r *rehearsal) ofStatus(failed bool) string {
	v := &r.evidence
	switch {
	case !failed:
		return "The account is active."
	case v.disabled != nil:
		e := &v.disabled.Event
		return fmt.Sprintf("Since %s, by %s, in the request %s.", moment(e.At), e.Actor, e.RequestID)
	case v.account != nil:
		return fmt.Sprintf("It was last changed at %s.", moment(v.account.UpdatedAt))
	}
	return ""
}

func (r *rehearsal) ofKind(failed bool) string {
	kinds, c := r.evidence.principal.Account.AllowedCredentials, &r.evidence.credential
	texts := make([]string, len(kinds))
	for i, k := range kinds {
		texts[i] = string(k)
	}
	switch {
	case failed:
		return fmt.Sprintf("The credential %s is of the kind %s. Allowed: %s.", c.ID, c.Kind, strings.Join(texts, ", "))
	case len(kinds) == 0:
		return "The account may sign in by any kind."
	}
	return fmt.Sprintf("The account may sign in by: %s.", strings.Join(texts, ", "))
}

func (r *rehearsal) ofNetworks(what string, networks []netip.Prefix, failed bool) string {
	switch {
	case len(networks) == 0:
		return what + " may sign in from anywhere."
	case failed:
		return fmt.Sprintf("%s is not in %s.", r.q.Address, joined(networks))
	}
	return fmt.Sprintf("%s is in %s.", r.q.Address, joined(networks))
}

func (r *rehearsal) ofQuota(failed bool) string {
	if failed {
		return fmt.Sprintf("Of %d calls a minute none is left at the node that answers, for another %s.", r.standing.Quota, wait(r.standing.Wait))
	}
	return fmt.Sprintf("Of %d calls a minute %d are left at the node that answers.", r.standing.Quota, r.standing.Remaining)
}

func (r *rehearsal) ofResource(failed bool) string {
	switch {
	case failed && r.q.Resource != "":
		return fmt.Sprintf("Asked for is %q.", r.q.Resource)
	case failed:
		return ""
	case r.q.Resource == "":
		return fmt.Sprintf("The account's default is %s.", r.a.ResourceServer.Identifier)
	}
	return fmt.Sprintf("It is the resource server %s.", r.a.ResourceServer.ID)
}

// ofRoles also names the roles that gave something until they ended.
func (r *rehearsal) ofRoles(failed bool) string {
	if !failed {
		return fmt.Sprintf("It may do %d things at %s.", len(r.a.Granted), r.a.ResourceServer.Identifier)
	}
	held := r.a.Client.Principal.Grants[r.a.ResourceServer.Identifier]
	if held == nil {
		return fmt.Sprintf("No role of the account is for %s.", r.a.ResourceServer.Identifier)
	}
	var ended []string
	for _, s := range held.Sources {
		ended = append(ended, fmt.Sprintf("%q ended at %s", s.RoleName, moment(s.ExpiresAt)))
	}
	return some("The role ", ended)
}

// ofSubset names what the credential gives at the resource server, or does not.
func (r *rehearsal) ofSubset(rule string, failed bool) string {
	c := &r.evidence.credential
	switch {
	case !c.Restricted:
		return "The credential gives all that the account holds."
	case !failed:
		return fmt.Sprintf("It gives %d things at %s.", len(r.a.Granted), r.a.ResourceServer.Identifier)
	case rule == ruleScopeOutside:
		return some("Not given: ", r.missing())
	case len(c.Permissions) == 0:
		return "It gives nothing at all."
	}
	var names []string
	for _, p := range c.Permissions {
		names = append(names, p.Permission+" at "+p.ResourceServerID)
	}
	return some("It gives at most: ", names)
}

func (r *rehearsal) ofScope(rule string, failed bool) string {
	switch {
	case !failed && r.q.Scope == "":
		return "All that the roles give is asked for."
	case !failed:
		return ""
	case rule == ruleTooManyScopes:
		return sentence(r.fault.Detail)
	case rule != ruleScopeNotGranted:
		return ""
	}
	return some("Not given: ", r.missing())
}

// missing is what the scope asks for in vain.
func (r *rehearsal) missing() (missing []string) {
	for scope := range strings.FieldsSeq(r.q.Scope) {
		if _, ok := slices.BinarySearch(r.a.Granted, scope); !ok && !slices.Contains(missing, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}

// named is how many things a sentence names.
const named = 5

// some lists the first of several things.
func some(before string, things []string) string {
	if more := len(things) - named; more > 0 {
		return fmt.Sprintf("%s%s, and %d more.", before, strings.Join(things[:named], ", "), more)
	}
	return before + strings.Join(things, ", ") + "."
}

func until(what string, end time.Time, failed bool) string {
	switch {
	case end.IsZero():
		return what + " has no end."
	case failed:
		return what + " ended at " + moment(end) + "."
	}
	return what + " ends at " + moment(end) + "."
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// wait is rounded up: who waits as long as told must not come too early.
func wait(d time.Duration) string { return (d + time.Second - 1).Truncate(time.Second).String() }

func joined(networks []netip.Prefix) string {
	texts := make([]string, len(networks))
	for i, n := range networks {
		texts[i] = n.String()
	}
	return strings.Join(texts, ", ")
}

// sentence makes one of the detail of a fault.
func sentence(detail string) string {
	if detail == "" {
		return ""
	}
	return strings.ToUpper(detail[:1]) + detail[1:] + "."
}
