package audit

// Type says what an event records. The list is closed: [Head.Next] refuses
// anything else, so that a typing error cannot become history.
type Type string

// Tokens.
const (
	TokenIssued  Type = "token.issued"
	TokenRefused Type = "token.refused"
	TokenRevoked Type = "token.revoked"
)

// Service accounts and their credentials.
const (
	AccountCreated       Type = "service_account.created"
	AccountUpdated       Type = "service_account.updated"
	AccountDisabled      Type = "service_account.disabled"
	AccountEnabled       Type = "service_account.enabled"
	AccountDeleted       Type = "service_account.deleted"
	AccountTokensRevoked Type = "service_account.tokens_revoked"
	ClientSecretCreated  Type = "client_secret.created"
	ClientSecretRotated  Type = "client_secret.rotated"
	ClientSecretDeleted  Type = "client_secret.deleted"
	APIKeyCreated        Type = "api_key.created"
	APIKeyUpdated        Type = "api_key.updated"
	APIKeyRotated        Type = "api_key.rotated"
	APIKeyDeleted        Type = "api_key.deleted"
	CredentialRevoked    Type = "credential.revoked"
)

// Resource servers and roles.
const (
	ResourceServerCreated Type = "resource_server.created"
	ResourceServerUpdated Type = "resource_server.updated"
	ResourceServerDeleted Type = "resource_server.deleted"
	RoleCreated           Type = "role.created"
	RoleUpdated           Type = "role.updated"
	RoleDeleted           Type = "role.deleted"
	RoleAssigned          Type = "role.assigned"
	RoleUnassigned        Type = "role.unassigned"
)

// The installation itself.
const (
	AdministratorBootstrapped Type = "administrator.bootstrapped"
	SchemaMigrated            Type = "schema.migrated"
	SigningKeyCreated         Type = "signing_key.created"
	SigningKeyRotated         Type = "signing_key.rotated"
	SigningKeyRevoked         Type = "signing_key.revoked"
	SealedSecretCreated       Type = "sealed_secret.created"
	MasterKeyRotated          Type = "master_key.rotated"
	ChainOpened               Type = "chain.opened"
)

// Refusals other than of a token.
const (
	APIRefused      Type = "api.refused"
	RefusalsCounted Type = "refusals.counted"
)

// Types lists all types, in the order of this file.
func Types() []Type {
	return []Type{
		TokenIssued, TokenRefused, TokenRevoked,
		AccountCreated, AccountUpdated, AccountDisabled, AccountEnabled, AccountDeleted, AccountTokensRevoked,
		ClientSecretCreated, ClientSecretRotated, ClientSecretDeleted, CredentialRevoked,
		APIKeyCreated, APIKeyUpdated, APIKeyRotated, APIKeyDeleted,
		ResourceServerCreated, ResourceServerUpdated, ResourceServerDeleted,
		RoleCreated, RoleUpdated, RoleDeleted, RoleAssigned, RoleUnassigned,
		AdministratorBootstrapped, SchemaMigrated, SigningKeyCreated, SigningKeyRotated, SigningKeyRevoked,
		SealedSecretCreated, MasterKeyRotated, ChainOpened,
		APIRefused, RefusalsCounted,
	}
}

// Known reports whether t is in the list.
func (t Type) Known() bool { return t.Doc() != "" }

// Doc says in one sentence what an event of the type records; it is empty for
// a type that is not in the list.
func (t Type) Doc() string {
	switch t {
	case TokenIssued:
		return "An access token was issued."
	case TokenRefused:
		return "A request for an access token was refused."
	case TokenRevoked:
		return "One access token was revoked before its time."
	case AccountCreated:
		return "A service account was registered."
	case AccountUpdated:
		return "Members of a service account were changed."
	case AccountDisabled:
		return "A service account was disabled; its live tokens died."
	case AccountEnabled:
		return "A disabled service account was enabled again."
	case AccountDeleted:
		return "A service account was deleted; its live tokens died and its id stays taken."
	case AccountTokensRevoked:
		return "Everything issued to a service account so far was revoked."
	case ClientSecretCreated:
		return "A service account received a further client secret."
	case ClientSecretRotated:
		return "A client secret was replaced; the old one ends after the overlap."
	case ClientSecretDeleted:
		return "A client secret was deleted."
	case APIKeyCreated:
		return "A service account received an API key."
	case APIKeyUpdated:
		return "Name, permissions, networks or end of an API key were changed."
	case APIKeyRotated:
		return "An API key was replaced; the old one ends after the overlap."
	case APIKeyDeleted:
		return "An API key was deleted."
	case CredentialRevoked:
		return "A credential was revoked: it is deleted, and the tokens that were issued for it died."
	case ResourceServerCreated:
		return "An API that accepts our tokens was registered."
	case ResourceServerUpdated:
		return "Members or permissions of a resource server were changed."
	case ResourceServerDeleted:
		return "A resource server was deleted."
	case RoleCreated:
		return "A role was created."
	case RoleUpdated:
		return "Members or permissions of a role were changed."
	case RoleDeleted:
		return "A role was deleted."
	case RoleAssigned:
		return "A service account was given a role, or the end date of one was changed."
	case RoleUnassigned:
		return "A role was taken from a service account."
	case AdministratorBootstrapped:
		return "An administrator was made on the machine of the server, outside the API."
	case SchemaMigrated:
		return "The database was brought to a newer schema."
	case SigningKeyCreated:
		return "A key that signs tokens or checkpoints was created."
	case SigningKeyRotated:
		return "A prepared signing key became the active one of its algorithm, the active one retired, and another was prepared."
	case SigningKeyRevoked:
		return "A signing key was revoked; the tokens that it signed died."
	case SealedSecretCreated:
		return "A secret of the server's own, such as the pepper, was created and sealed."
	case MasterKeyRotated:
		return "Rows were put under a newer version of the master key; its details tell from which, to which and how many."
	case ChainOpened:
		return "A process started and opened a chain of its own: the first event of each chain."
	case APIRefused:
		return "A call other than for a token was refused: not signed in, not permitted, or one too many."
	case RefusalsCounted:
		return "Refusals that were not stored one by one, as one count with its reasons."
	default:
		return ""
	}
}
