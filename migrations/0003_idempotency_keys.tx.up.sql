-- What the first request with an Idempotency-Key was answered, so that it gets
-- the same answer when it comes again. The text of a secret is never here.
CREATE TABLE IF NOT EXISTS idempotency_keys (
    service_account_id {{.ID}} NOT NULL REFERENCES service_accounts (id),
    operation          {{.ID}} NOT NULL,
    key                {{.ID}} NOT NULL,
    digest             {{.Bytes}} NOT NULL,
    subject            {{.ID}} NOT NULL,
    result             TEXT NOT NULL,
    created_at         BIGINT NOT NULL,
    PRIMARY KEY (service_account_id, operation, key)
){{.WithoutRowID}};
--bun:split
CREATE INDEX IF NOT EXISTS idempotency_keys_created_at ON idempotency_keys (created_at);
