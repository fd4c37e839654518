package identity

// ManagementIdentifier is the aud of tokens for Marque's own management API,
// which is a resource server like any other. It is the same in every
// installation: what tells two installations apart is the issuer and its keys.
const ManagementIdentifier = "urn:marque:management"

// The ids of what is built in are fixed, so that every installation and every
// migration names the same rows.
const (
	ManagementResourceServerID = "rs_00000000000000000000000000"
	RoleAdminID                = "role_00000000000000000000000000"
	RoleOperatorID             = "role_00000000000000000000000001"
	RoleAuditorID              = "role_00000000000000000000000002"
	RoleValidatorID            = "role_00000000000000000000000003"
)

// The permissions of the management API.
const (
	PermServiceAccountsRead   = "service-accounts:read"
	PermServiceAccountsWrite  = "service-accounts:write"
	PermServiceAccountsDelete = "service-accounts:delete"
	PermCredentialsRead       = "credentials:read"
	PermCredentialsWrite      = "credentials:write"
	PermResourceServersRead   = "resource-servers:read"
	PermResourceServersWrite  = "resource-servers:write"
	PermRolesRead             = "roles:read"
	PermRolesWrite            = "roles:write"
	PermRolesAssign           = "roles:assign"
	PermRolesGrantAny         = "roles:grant-any"
	PermTokensIntrospect      = "tokens:introspect"
	PermTokensRevoke          = "tokens:revoke"
	PermSigningKeysRead       = "signing-keys:read"
	PermSigningKeysRotate     = "signing-keys:rotate"
	PermSigningKeysRevoke     = "signing-keys:revoke"
	PermRevocationsRead       = "revocations:read"
	PermAuditRead             = "audit:read"
	PermAuthorizationsExplain = "authorizations:explain"
)

// ManagementPermissions are all of them, with what each allows.
func ManagementPermissions() []Permission {
	return []Permission{
		{PermServiceAccountsRead, "Read service accounts"},
		{PermServiceAccountsWrite, "Create, change, disable and enable service accounts"},
		{PermServiceAccountsDelete, "Delete service accounts"},
		{PermCredentialsRead, "Read the metadata of credentials"},
		{PermCredentialsWrite, "Create, rotate and delete credentials"},
		{PermResourceServersRead, "Read resource servers"},
		{PermResourceServersWrite, "Create, change and delete resource servers"},
		{PermRolesRead, "Read roles and assignments"},
		{PermRolesWrite, "Create, change and delete roles"},
		{PermRolesAssign, "Assign roles to service accounts and take them away"},
		{PermRolesGrantAny, "Grant permissions that one does not hold"},
		{PermTokensIntrospect, "See every token's state by introspection"},
		{PermTokensRevoke, "Revoke any token, everything issued to an account, and credentials"},
		{PermSigningKeysRead, "Read signing keys, without their private parts"},
		{PermSigningKeysRotate, "Let the next signing key take over"},
		{PermSigningKeysRevoke, "Revoke signing keys, and with them all tokens that they signed"},
		{PermRevocationsRead, "Read and follow what is revoked"},
		{PermAuditRead, "Read the audit log"},
		{PermAuthorizationsExplain, "Learn why a request was or would be refused, with its audit event"},
	}
}

// BuiltInRoles are the roles that exist from the first start and never change
// through the API.
func BuiltInRoles() []Role {
	role := func(id, name, description string, permissions ...string) Role {
		r := Role{ID: id, Name: name, Description: description, BuiltIn: true, Version: 1}
		for _, p := range permissions {
			r.Permissions = append(r.Permissions, RolePermission{ManagementResourceServerID, p})
		}
		return r
	}
	var all []string
	for _, p := range ManagementPermissions() {
		all = append(all, p.Name)
	}
	return []Role{
		role(RoleAdminID, "admin", "May do everything", all...),
		role(RoleOperatorID, "operator", "Runs the fleet: accounts, credentials, revocation; cannot widen anybody's rights beyond its own",
			PermServiceAccountsRead, PermServiceAccountsWrite, PermCredentialsRead, PermCredentialsWrite,
			PermResourceServersRead, PermRolesRead, PermRolesAssign, PermTokensIntrospect, PermTokensRevoke, PermRevocationsRead,
			PermAuditRead, PermAuthorizationsExplain, PermSigningKeysRead, PermSigningKeysRotate, PermSigningKeysRevoke),
		role(RoleAuditorID, "auditor", "Reads everything, changes nothing",
			PermServiceAccountsRead, PermCredentialsRead, PermResourceServersRead, PermRolesRead, PermRevocationsRead, PermAuditRead,
			PermAuthorizationsExplain, PermSigningKeysRead),
		role(RoleValidatorID, "validator", "Sees every token's state by introspection, and follows what is revoked", PermTokensIntrospect, PermRevocationsRead),
	}
}
