import assert from "node:assert/strict";
import { test } from "node:test";
import { type VerificationError, Verifier } from "../../src/index.js";
import { ISSUER } from "../support/fakes.js";
import { AUDIENCE, goodClaims, keyServer, newKey } from "../support/tokens.js";
import { verdict, verifierOf } from "../support/verifier.js";

const key = await newKey("key-1");

test("a good token gives its principal", async () => {
  const { verifier, clock } = verifierOf(keyServer(key));
  const principal = await verifier.verify(await key.token({ cnf: { jkt: "x" }, tomorrow: 1 }), {
    allowBound: true,
  });
  const { claims, ...rest } = principal;
  assert.deepEqual(rest, {
    subject: "sa_1",
    clientId: "sa_1",
    issuer: ISSUER,
    audience: AUDIENCE,
    scopes: ["invoices:read", "invoices:list"],
    roles: ["clerk"],
    issuedAt: new Date(clock.now()),
    expiresAt: new Date(clock.now() + 900_000),
    tokenId: "tok_1",
    generation: 3,
    credentialId: "sec_1",
    confirmation: { jkt: "x" },
  });
  assert.deepEqual(claims, { ...goodClaims(), cnf: { jkt: "x" }, tomorrow: 1 });
  assert.ok(Object.isFrozen(principal) && Object.isFrozen(principal.scopes) && Object.isFrozen(claims));
});

test("a token that is bound to a key is refused unless the caller checks the proof", async () => {
  const { verifier } = verifierOf(keyServer(key));
  assert.equal(await verdict(verifier, await key.token({ cnf: { jkt: "x" } })), "type");
});

test("a token with the least of claims has no scopes and no roles", async () => {
  const { verifier } = verifierOf(keyServer(key));
  const bare = { nbf: undefined, scope: undefined, roles: undefined, gen: undefined, cred: undefined };
  const { scopes, roles, generation } = await verifier.verify(await key.token(bare));
  assert.deepEqual([scopes, roles, generation], [[], [], undefined]);
});

test("issuer and audience are compared byte for byte", async () => {
  const { verifier } = verifierOf(keyServer(key));
  for (const iss of [`${ISSUER}/`, "https://AUTH.example.com", "https://evil.example"]) {
    assert.equal(await verdict(verifier, await key.token({ iss })), "issuer", iss);
  }
  for (const aud of [
    `${AUDIENCE}/`,
    AUDIENCE.toUpperCase(),
    "https://other.example.com",
    ["https://other.example.com"],
  ]) {
    assert.equal(await verdict(verifier, await key.token({ aud })), "audience", String(aud));
  }
  assert.equal(await verdict(verifier, await key.token({ aud: ["https://other.example.com", AUDIENCE] })), "accepted");
});

test("the audience is required, and may be given to each verification", async () => {
  const server = keyServer(key);
  const { verifier } = verifierOf(server, { audience: undefined });
  await assert.rejects(verifier.verify(await key.token()), { kind: "configuration" });
  await verifier.verify(await key.token(), { audience: AUDIENCE });
  await assert.rejects(verifier.verify(await key.token(), { audience: "https://b.example" }), { code: "audience" });
  assert.throws(() => new Verifier({ issuer: ISSUER, audience: "" }), { kind: "configuration" });
  assert.throws(() => new Verifier({ issuer: "http://a.example", audience: AUDIENCE }), { kind: "configuration" });
});

test("a token expires on the second, and may be dated 10 s ahead", async () => {
  const { verifier, clock } = verifierOf(keyServer(key));
  const now = clock.now() / 1000;
  const token = await key.token();
  clock.advance(899_999);
  assert.equal(await verdict(verifier, token), "accepted");
  clock.advance(1);
  assert.equal(await verdict(verifier, token), "expired");
  clock.at = now * 1000;
  assert.equal(await verdict(verifier, await key.token({ iat: now + 10, nbf: now + 10 })), "accepted");
  assert.equal(await verdict(verifier, await key.token({ iat: now + 11, nbf: now })), "not_yet_valid");
  assert.equal(await verdict(verifier, await key.token({ nbf: now + 11 })), "not_yet_valid");
  await assert.rejects(verifier.verify(await key.token({ nbf: now + 3600 })), {
    message: /dated 3600 s ahead of this machine's clock/,
  });
});

test("a leeway that is given counts for both ends", async () => {
  const { verifier, clock } = verifierOf(keyServer(key), { leeway: 60_000 });
  const now = clock.now() / 1000;
  assert.equal(await verdict(verifier, await key.token({ nbf: now + 60 })), "accepted");
  assert.equal(await verdict(verifier, await key.token({ nbf: now + 61 })), "not_yet_valid");
  const token = await key.token();
  clock.advance(959_000);
  assert.equal(await verdict(verifier, token), "accepted");
  clock.advance(1_000);
  assert.equal(await verdict(verifier, token), "expired");
});

test("a missing scope is 403 and names what is needed", async () => {
  const { verifier } = verifierOf(keyServer(key));
  const token = await key.token();
  await verifier.verify(token, { scopes: ["invoices:read", "invoices:list"] });
  await assert.rejects(
    verifier.verify(token, { scopes: ["invoices:read", "invoices:write"] }),
    (error: VerificationError) => {
      assert.deepEqual([error.kind, error.code, error.status], ["verification", "scope", 403]);
      assert.equal(error.wwwAuthenticate, 'Bearer error="insufficient_scope", scope="invoices:read invoices:write"');
      assert.match(error.message, /lacks invoices:write$/);
      return true;
    },
  );
});

test("a token that is remembered is still held against clock, audience, scope and revocations", async () => {
  const revoked = new Set<string>();
  const revocations = {
    isRevoked: ({ tokenId }: { tokenId: string }, kid: string) => revoked.has(tokenId) && kid === "key-1",
  };
  const { verifier, clock } = verifierOf(keyServer(key), { revocations });
  const token = await key.token();
  await verifier.verify(token);
  await assert.rejects(verifier.verify(token, { audience: "https://b.example" }), { code: "audience" });
  await assert.rejects(verifier.verify(token, { scopes: ["x"] }), { code: "scope" });
  revoked.add("tok_1");
  assert.equal(await verdict(verifier, token), "revoked");
  revoked.clear();
  clock.advance(900_000);
  assert.equal(await verdict(verifier, token), "expired");
});

test("a token that is remembered is not verified again, and the oldest make place", async (t) => {
  const verify = t.mock.method(crypto.subtle, "verify");
  const { verifier } = verifierOf(keyServer(key), { cacheSize: 2 });
  const tokens = await Promise.all(["a", "b", "c"].map((jti) => key.token({ jti })));
  const [a = "", b = "", c = ""] = tokens;
  for (const token of [a, a, b, b, a]) await verifier.verify(token);
  assert.equal(verify.mock.callCount(), 2);
  await verifier.verify(c);
  await verifier.verify(b);
  assert.equal(verify.mock.callCount(), 3);
  await verifier.verify(a);
  assert.equal(verify.mock.callCount(), 4);
});

test("no refusal repeats a byte of the token", async () => {
  const { verifier } = verifierOf(keyServer(key));
  const token = await key.token({ sub: "CANARY", iss: "CANARY" }, { kid: "CANARY" });
  await assert.rejects(verifier.verify(token), (error: Error) => !/CANARY/.test(error.message + error.stack));
  await assert.rejects(
    verifier.verify(await key.token({ iss: "CANARY" })),
    (error: Error) => !/CANARY/.test(error.message),
  );
});
