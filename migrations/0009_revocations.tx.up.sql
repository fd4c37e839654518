-- A token's audience, for verifiers that follow one audience only; empty where
-- it is not known.
{{.AddColumn "token_revocations" "audience" "TEXT NOT NULL DEFAULT ''"}};
--bun:split
-- What stops all tokens of something: of an account below a generation, under a
-- credential, under a signing key.
CREATE TABLE IF NOT EXISTS revocations (
    kind       TEXT NOT NULL CHECK (kind IN ('service_account', 'credential', 'signing_key')),
    ref        {{.ID}} NOT NULL,
    gen        BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (kind, ref)
){{.WithoutRowID}};
--bun:split
CREATE INDEX IF NOT EXISTS revocations_expires_at ON revocations (expires_at);
--bun:split
-- Ends that were brought forward, to be announced when they come: tokens that
-- were issued before may be dated beyond them.
CREATE TABLE IF NOT EXISTS revocations_ahead (
    kind       TEXT NOT NULL CHECK (kind IN ('service_account', 'credential')),
    ref        {{.ID}} NOT NULL,
    due_at     BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (kind, ref)
){{.WithoutRowID}};
--bun:split
CREATE INDEX IF NOT EXISTS revocations_ahead_due_at ON revocations_ahead (due_at);
