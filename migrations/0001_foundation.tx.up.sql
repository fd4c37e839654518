-- Times are microseconds since 1970 in UTC; 0 stands for "none".
-- Ids sort by their bytes, which is the order of their making.

CREATE TABLE IF NOT EXISTS service_accounts (
    id                      {{.ID}} PRIMARY KEY,
    name                    {{.ID}} NOT NULL,
    display_name            TEXT NOT NULL,
    description             TEXT NOT NULL,
    kind                    TEXT NOT NULL,
    owner                   TEXT NOT NULL,
    labels                  TEXT NOT NULL,
    status                  TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    expires_at              BIGINT NOT NULL,
    token_lifetime          BIGINT NOT NULL,
    default_resource_server TEXT NOT NULL,
    allowed_networks        TEXT NOT NULL,
    gen                     BIGINT NOT NULL,
    version                 BIGINT NOT NULL,
    created_at              BIGINT NOT NULL,
    updated_at              BIGINT NOT NULL,
    last_used_at            BIGINT NOT NULL,
    deleted_at              BIGINT NOT NULL DEFAULT 0
);
--bun:split
CREATE UNIQUE INDEX IF NOT EXISTS service_accounts_living_name ON service_accounts (name) WHERE deleted_at = 0;
--bun:split
CREATE INDEX IF NOT EXISTS service_accounts_default_resource_server ON service_accounts (default_resource_server) WHERE default_resource_server <> '';
--bun:split
CREATE TABLE IF NOT EXISTS client_secrets (
    id                 {{.ID}} PRIMARY KEY,
    service_account_id {{.ID}} NOT NULL REFERENCES service_accounts (id),
    hint               TEXT NOT NULL,
    mac                {{.Bytes}} NOT NULL,
    expires_at         BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    last_used_at       BIGINT NOT NULL,
    deleted_at         BIGINT NOT NULL DEFAULT 0
);
--bun:split
CREATE INDEX IF NOT EXISTS client_secrets_account ON client_secrets (service_account_id, id);
--bun:split
CREATE TABLE IF NOT EXISTS resource_servers (
    id                 {{.ID}} PRIMARY KEY,
    identifier         {{.ID}} NOT NULL,
    name               TEXT NOT NULL,
    token_lifetime_max BIGINT NOT NULL,
    signing_alg        TEXT NOT NULL,
    built_in           BOOLEAN NOT NULL,
    version            BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL,
    deleted_at         BIGINT NOT NULL DEFAULT 0
);
--bun:split
CREATE UNIQUE INDEX IF NOT EXISTS resource_servers_living_identifier ON resource_servers (identifier) WHERE deleted_at = 0;
--bun:split
CREATE TABLE IF NOT EXISTS resource_server_permissions (
    resource_server_id {{.ID}} NOT NULL REFERENCES resource_servers (id),
    name               {{.ID}} NOT NULL,
    description        TEXT NOT NULL,
    PRIMARY KEY (resource_server_id, name)
);
--bun:split
CREATE TABLE IF NOT EXISTS resource_server_introspectors (
    resource_server_id {{.ID}} NOT NULL REFERENCES resource_servers (id),
    service_account_id {{.ID}} NOT NULL REFERENCES service_accounts (id),
    PRIMARY KEY (resource_server_id, service_account_id)
);
--bun:split
CREATE INDEX IF NOT EXISTS resource_server_introspectors_account ON resource_server_introspectors (service_account_id);
--bun:split
CREATE TABLE IF NOT EXISTS roles (
    id          {{.ID}} PRIMARY KEY,
    name        {{.ID}} NOT NULL,
    description TEXT NOT NULL,
    built_in    BOOLEAN NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    deleted_at  BIGINT NOT NULL DEFAULT 0
);
--bun:split
CREATE UNIQUE INDEX IF NOT EXISTS roles_living_name ON roles (name) WHERE deleted_at = 0;
--bun:split
-- A role grants only what its resource server declares: withdrawing a
-- permission needs its grants withdrawn first.
CREATE TABLE IF NOT EXISTS role_permissions (
    role_id            {{.ID}} NOT NULL REFERENCES roles (id),
    resource_server_id {{.ID}} NOT NULL,
    permission         {{.ID}} NOT NULL,
    PRIMARY KEY (role_id, resource_server_id, permission),
    FOREIGN KEY (resource_server_id, permission) REFERENCES resource_server_permissions (resource_server_id, name)
);
--bun:split
CREATE INDEX IF NOT EXISTS role_permissions_permission ON role_permissions (resource_server_id, permission);
--bun:split
CREATE TABLE IF NOT EXISTS role_assignments (
    service_account_id {{.ID}} NOT NULL REFERENCES service_accounts (id),
    role_id            {{.ID}} NOT NULL REFERENCES roles (id),
    expires_at         BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    PRIMARY KEY (service_account_id, role_id)
);
--bun:split
CREATE INDEX IF NOT EXISTS role_assignments_role ON role_assignments (role_id, service_account_id);
--bun:split
CREATE TABLE IF NOT EXISTS signing_keys (
    id             {{.ID}} PRIMARY KEY,
    key_use        TEXT NOT NULL CHECK (key_use IN ('token', 'checkpoint')),
    algorithm      TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('prepared', 'active', 'retired', 'revoked')),
    public_jwk     {{.Bytes}} NOT NULL,
    master_version BIGINT NOT NULL,
    wrapped_key    {{.Bytes}} NOT NULL,
    ciphertext     {{.Bytes}} NOT NULL,
    created_at     BIGINT NOT NULL,
    activated_at   BIGINT NOT NULL,
    retired_at     BIGINT NOT NULL,
    revoked_at     BIGINT NOT NULL,
    version        BIGINT NOT NULL
);
--bun:split
-- Two active keys for one purpose cannot be, whatever two nodes do at once.
CREATE UNIQUE INDEX IF NOT EXISTS signing_keys_one_active ON signing_keys (key_use, algorithm) WHERE state = 'active';
--bun:split
CREATE UNIQUE INDEX IF NOT EXISTS signing_keys_one_prepared ON signing_keys (key_use, algorithm) WHERE state = 'prepared';
--bun:split
CREATE TABLE IF NOT EXISTS sealed_secrets (
    name           {{.ID}} PRIMARY KEY,
    master_version BIGINT NOT NULL,
    wrapped_key    {{.Bytes}} NOT NULL,
    ciphertext     {{.Bytes}} NOT NULL
);
--bun:split
CREATE TABLE IF NOT EXISTS token_revocations (
    token_id           {{.ID}} PRIMARY KEY,
    service_account_id {{.ID}} NOT NULL,
    revoked_at         BIGINT NOT NULL,
    expires_at         BIGINT NOT NULL
){{.WithoutRowID}};
--bun:split
CREATE INDEX IF NOT EXISTS token_revocations_expires_at ON token_revocations (expires_at);
--bun:split
-- Ids are given under a lock, one after another without gaps: their order is
-- the order of commits, and a reader that finds id n+2 after n has lost one.
CREATE TABLE IF NOT EXISTS changes (
    id   BIGINT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    ref  TEXT NOT NULL,
    at   BIGINT NOT NULL
);
--bun:split
CREATE TABLE IF NOT EXISTS audit_chains (
    id         {{.ID}} PRIMARY KEY,
    seq        BIGINT NOT NULL,
    hash       {{.Bytes}} NOT NULL,
    opened_at  BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
--bun:split
-- The hottest table: appended in the order of its one key, and no other index.
-- canonical holds the bytes that the hash covers; the columns repeat what
-- lists filter by.
CREATE TABLE IF NOT EXISTS audit_events (
    chain      {{.ID}} NOT NULL,
    seq        BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    type       TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    reason     TEXT NOT NULL,
    actor      TEXT NOT NULL,
    account_id TEXT NOT NULL,
    subject    TEXT NOT NULL,
    canonical  {{.Bytes}} NOT NULL,
    hash       {{.Bytes}} NOT NULL,
    PRIMARY KEY (chain, seq)
){{.WithoutRowID}};
--bun:split
CREATE TABLE IF NOT EXISTS audit_checkpoints (
    seq    BIGINT NOT NULL PRIMARY KEY,
    id     TEXT NOT NULL,
    at     BIGINT NOT NULL,
    hash   {{.Bytes}} NOT NULL,
    signed TEXT NOT NULL
);
