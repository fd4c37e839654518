// Package operation says, for every operation of the contract, who may call it,
// how often, and how it is recorded. Policy is keyed by operationId and by nothing else:
// paths have many spellings, an operationId has one.
package operation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/marque-id/marque/server/internal/identity"
)

// SignIn says how a caller proves who it is.
type SignIn uint8

// The zero value stands for a row that was never filled in, and is refused.
const (
	signInUnset SignIn = iota
	// None is for what the whole world may read.
	None
	// Bearer is a token of ours for the management API (RFC 6750).
	Bearer
	// Client is client authentication (RFC 6749 section 2.3).
	Client
	// ClientOrBearer is either of the two, and never both at once.
	ClientOrBearer
	// APIKey is an API key as a member of the body.
	APIKey
)

// AuditClass says what the audit log gets of an operation.
type AuditClass uint8

// The zero value stands for a row that was never filled in, and is refused.
const (
	auditUnset AuditClass = iota
	// Read changes nothing and is not recorded.
	Read
	// Change is recorded in the transaction that makes it.
	Change
	// Decision is recorded whether it is granted or refused.
	Decision
)

// LimitClass says which quota a call is taken from. Each account has one of each.
type LimitClass uint8

// The zero value stands for a row that was never filled in, and is refused.
const (
	limitUnset LimitClass = iota
	// Unlimited is for what is answered from memory and asks for no sign-in.
	Unlimited
	// Tokens are issued, signed and recorded.
	Tokens
	// Introspection is called by an API for each request of its own.
	Introspection
	// Management reads and writes the database. So does a revocation.
	Management
)

// String is the name of the policy in RateLimit fields; "" where there is none.
func (c LimitClass) String() string {
	switch c {
	case Tokens:
		return "tokens"
	case Introspection:
		return "introspection"
	case Management:
		return "management"
	}
	return ""
}

// Operation is one row of the table.
type Operation struct {
	ID         string
	SignIn     SignIn
	Permission string // of the management API; "" where the sign-in alone is enough
	Audit      AuditClass
	Limit      LimitClass
}

// Table returns the rows, in the order of the contract.
func Table() []Operation {
	return []Operation{
		{"service_accounts.list", Bearer, identity.PermServiceAccountsRead, Read, Management},
		{"service_accounts.create", Bearer, identity.PermServiceAccountsWrite, Change, Management},
		{"service_accounts.get", Bearer, identity.PermServiceAccountsRead, Read, Management},
		{"service_accounts.update", Bearer, identity.PermServiceAccountsWrite, Change, Management},
		{"service_accounts.delete", Bearer, identity.PermServiceAccountsDelete, Change, Management},
		{"service_accounts.disable", Bearer, identity.PermServiceAccountsWrite, Change, Management},
		{"service_accounts.enable", Bearer, identity.PermServiceAccountsWrite, Change, Management},
		{"service_accounts.revoke_tokens", Bearer, identity.PermTokensRevoke, Change, Management},

		{"effective_permissions.list", Bearer, identity.PermRolesRead, Read, Management},

		{"client_secrets.list", Bearer, identity.PermCredentialsRead, Read, Management},
		{"client_secrets.create", Bearer, identity.PermCredentialsWrite, Change, Management},
		{"client_secrets.rotate", Bearer, identity.PermCredentialsWrite, Change, Management},
		{"client_secrets.get", Bearer, identity.PermCredentialsRead, Read, Management},
		{"client_secrets.delete", Bearer, identity.PermCredentialsWrite, Change, Management},

		{"api_keys.list", Bearer, identity.PermCredentialsRead, Read, Management},
		{"api_keys.create", Bearer, identity.PermCredentialsWrite, Change, Management},
		{"api_keys.get", Bearer, identity.PermCredentialsRead, Read, Management},
		{"api_keys.update", Bearer, identity.PermCredentialsWrite, Change, Management},
		{"api_keys.delete", Bearer, identity.PermCredentialsWrite, Change, Management},
		{"api_keys.rotate", Bearer, identity.PermCredentialsWrite, Change, Management},

		{"credentials.list", Bearer, identity.PermCredentialsRead, Read, Management},

		{"role_assignments.list", Bearer, identity.PermRolesRead, Read, Management},
		{"role_assignments.get", Bearer, identity.PermRolesRead, Read, Management},
		{"role_assignments.put", Bearer, identity.PermRolesAssign, Change, Management},
		{"role_assignments.delete", Bearer, identity.PermRolesAssign, Change, Management},

		{"resource_servers.list", Bearer, identity.PermResourceServersRead, Read, Management},
		{"resource_servers.create", Bearer, identity.PermResourceServersWrite, Change, Management},
		{"resource_servers.get", Bearer, identity.PermResourceServersRead, Read, Management},
		{"resource_servers.update", Bearer, identity.PermResourceServersWrite, Change, Management},
		{"resource_servers.delete", Bearer, identity.PermResourceServersWrite, Change, Management},
		{"resource_servers.change_permissions", Bearer, identity.PermResourceServersWrite, Change, Management},

		{"roles.list", Bearer, identity.PermRolesRead, Read, Management},
		{"roles.create", Bearer, identity.PermRolesWrite, Change, Management},
		{"roles.get", Bearer, identity.PermRolesRead, Read, Management},
		{"roles.update", Bearer, identity.PermRolesWrite, Change, Management},
		{"roles.delete", Bearer, identity.PermRolesWrite, Change, Management},

		{"signing_keys.list", Bearer, identity.PermSigningKeysRead, Read, Management},
		{"signing_keys.rotate", Bearer, identity.PermSigningKeysRotate, Change, Management},
		{"signing_keys.get", Bearer, identity.PermSigningKeysRead, Read, Management},
		{"signing_keys.revoke", Bearer, identity.PermSigningKeysRevoke, Change, Management},

		{"authorizations.explain", Bearer, identity.PermAuthorizationsExplain, Read, Management},

		{"revocations.create", Bearer, identity.PermTokensRevoke, Change, Management},
		{"revocations.snapshot", Bearer, identity.PermRevocationsRead, Read, Management},
		{"revocations.feed", Bearer, identity.PermRevocationsRead, Read, Management},

		{"whoami.get", Bearer, "", Read, Management},
		{"audit_events.list", Bearer, identity.PermAuditRead, Read, Management},

		{"tokens.issue", Client, "", Decision, Tokens},
		{"tokens.introspect", ClientOrBearer, "", Read, Introspection},
		{"tokens.revoke", ClientOrBearer, "", Change, Management},
		{"tokens.login", APIKey, "", Decision, Tokens},

		{"metadata.get", None, "", Read, Unlimited},
		{"metadata.get_openid", None, "", Read, Unlimited},
		{"jwks.get", None, "", Read, Unlimited},
		{"contract.get", None, "", Read, Unlimited},
	}
}

// Index gives the table by operationId, after checking it against the
// operationIds of the contract: each has exactly one row, each row is filled in
// and belongs to one of them. What is missing or too much is named.
func Index(contract []string) (map[string]Operation, error) {
	return index(Table(), contract)
}

func index(table []Operation, contract []string) (map[string]Operation, error) {
	var wrong []string
	rows := make(map[string]Operation, len(table))
	for _, op := range table {
		if _, twice := rows[op.ID]; twice {
			wrong = append(wrong, op.ID+" has two rows")
		}
		if problem := op.problem(); problem != "" {
			wrong = append(wrong, op.ID+" "+problem)
		}
		if !slices.Contains(contract, op.ID) {
			wrong = append(wrong, op.ID+" is not an operation of the contract")
		}
		rows[op.ID] = op
	}
	for _, id := range contract {
		if _, ok := rows[id]; !ok {
			wrong = append(wrong, id+" has no row")
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("operation: table and contract disagree: %s", strings.Join(wrong, "; "))
	}
	return rows, nil
}

// problem says what a row may not be: forgotten, open by oversight, or under a
// permission that does not exist and therefore can never be held.
func (op Operation) problem() string {
	known := func(p identity.Permission) bool { return p.Name == op.Permission }
	switch {
	case op.SignIn == signInUnset || op.SignIn > APIKey:
		return "does not say how callers sign in"
	case op.Audit == auditUnset || op.Audit > Decision:
		return "does not say how it is recorded"
	case op.Limit == limitUnset || op.Limit > Management:
		return "does not say how many calls an account may make"
	case (op.SignIn == None) != (op.Limit == Unlimited):
		return "is limited by account without sign-in, or not at all with one"
	case op.SignIn == None && op.Audit != Read:
		return "changes something without sign-in"
	case op.SignIn != Bearer && op.Permission != "":
		return "has a permission that its sign-in cannot check"
	case op.Permission != "" && !slices.ContainsFunc(identity.ManagementPermissions(), known):
		return "names the unknown permission " + op.Permission
	}
	return ""
}
