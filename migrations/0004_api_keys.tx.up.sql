-- Keys by which an account signs in without OAuth. restricted stands apart from
-- the permissions: a key whose last permission was withdrawn gives nothing, not
-- everything.
CREATE TABLE IF NOT EXISTS api_keys (
    id                 {{.ID}} PRIMARY KEY,
    service_account_id {{.ID}} NOT NULL REFERENCES service_accounts (id),
    name               TEXT NOT NULL,
    hint               TEXT NOT NULL,
    mac                {{.Bytes}} NOT NULL,
    restricted         BOOLEAN NOT NULL,
    allowed_networks   TEXT NOT NULL,
    replaced_by        TEXT NOT NULL,
    expires_at         BIGINT NOT NULL,
    version            BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL,
    last_used_at       BIGINT NOT NULL,
    deleted_at         BIGINT NOT NULL DEFAULT 0
);
--bun:split
CREATE UNIQUE INDEX IF NOT EXISTS api_keys_living_mac ON api_keys (mac) WHERE deleted_at = 0;
--bun:split
CREATE INDEX IF NOT EXISTS api_keys_account ON api_keys (service_account_id, id) WHERE deleted_at = 0;
--bun:split
CREATE INDEX IF NOT EXISTS api_keys_expires_at ON api_keys (expires_at) WHERE expires_at > 0 AND deleted_at = 0;
--bun:split
-- A permission that is withdrawn goes from the keys with it.
CREATE TABLE IF NOT EXISTS api_key_permissions (
    api_key_id         {{.ID}} NOT NULL REFERENCES api_keys (id),
    resource_server_id {{.ID}} NOT NULL,
    permission         {{.ID}} NOT NULL,
    PRIMARY KEY (api_key_id, resource_server_id, permission),
    FOREIGN KEY (resource_server_id, permission) REFERENCES resource_server_permissions (resource_server_id, name) ON DELETE CASCADE
){{.WithoutRowID}};
--bun:split
CREATE INDEX IF NOT EXISTS api_key_permissions_permission ON api_key_permissions (resource_server_id, permission);
--bun:split
-- Which secret a rotation has made for this one.
{{.AddColumn "client_secrets" "replaced_by" "TEXT NOT NULL DEFAULT ''"}};
--bun:split
-- The kinds of credentials by which an account may sign in, with spaces between
-- them; none stands for any.
{{.AddColumn "service_accounts" "allowed_credentials" "TEXT NOT NULL DEFAULT ''"}};
