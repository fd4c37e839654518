-- When an account last used a permission: the beginning of the hour, so that a
-- steady agent costs one write an hour. The rows of a permission that is
-- withdrawn go with it.
CREATE TABLE IF NOT EXISTS permission_uses (
    service_account_id {{.ID}} NOT NULL REFERENCES service_accounts (id),
    resource_server_id {{.ID}} NOT NULL,
    permission         {{.ID}} NOT NULL,
    last_used_at       BIGINT NOT NULL,
    PRIMARY KEY (service_account_id, resource_server_id, permission),
    FOREIGN KEY (resource_server_id, permission) REFERENCES resource_server_permissions (resource_server_id, name) ON DELETE CASCADE
){{.WithoutRowID}};
--bun:split
CREATE INDEX IF NOT EXISTS permission_uses_permission ON permission_uses (resource_server_id, permission);
--bun:split
-- What was used before uses were noted cannot be known, but not later than the
-- account itself was: better than to call a right unused that is in use.
INSERT INTO permission_uses (service_account_id, resource_server_id, permission, last_used_at)
SELECT DISTINCT ra.service_account_id, rp.resource_server_id, rp.permission, a.last_used_at - a.last_used_at % 3600000000
FROM role_assignments AS ra
JOIN service_accounts AS a ON a.id = ra.service_account_id AND a.deleted_at = 0 AND a.last_used_at > 0
JOIN role_permissions AS rp ON rp.role_id = ra.role_id
WHERE true
ON CONFLICT (service_account_id, resource_server_id, permission) DO NOTHING;
--bun:split
CREATE INDEX IF NOT EXISTS service_accounts_owner ON service_accounts (owner, id) WHERE deleted_at = 0;
--bun:split
CREATE INDEX IF NOT EXISTS service_accounts_expires_at ON service_accounts (expires_at) WHERE expires_at > 0 AND deleted_at = 0;
--bun:split
CREATE INDEX IF NOT EXISTS client_secrets_expires_at ON client_secrets (expires_at) WHERE expires_at > 0 AND deleted_at = 0;
