import assert from "node:assert/strict";
import { test } from "node:test";
import type { MarqueError } from "../src/index.js";
import { clientOf } from "./support/client.js";
import { FakeServer, json } from "./support/fakes.js";

const jwks = "/.well-known/jwks.json";

/** What comes of one answer to one call that needs no sign-in. */
async function outcome(
  answer: ConstructorParameters<typeof FakeServer>[0][string],
  options = {},
): Promise<MarqueError> {
  const server = new FakeServer({ [`GET ${jwks}`]: answer });
  const { client } = clientOf(server, { credential: null, retries: 0, ...options });
  return client.jwks.get().then(
    () => assert.fail("it worked"),
    (error: MarqueError) => error,
  );
}

test("a redirect is refused and named, without its query", async () => {
  const headers = { location: "https://login.example.com/in?state=hidden" };
  const error = await outcome(new Response(null, { status: 302, headers }));
  assert.deepEqual([error.kind, error.status], ["protocol", 302]);
  assert.match(error.message, /redirects to https:\/\/login\.example\.com\/in, /);
  assert.doesNotMatch(error.message, /hidden/);
});

test("HTML instead of JSON says that this is not Marque", async () => {
  const error = await outcome(new Response("<html>Sign in</html>", { headers: { "content-type": "text/html" } }));
  assert.equal(error.kind, "protocol");
  assert.match(error.message, /answered with text\/html instead of JSON/);
});

test("JSON that does not end, or is no UTF-8, is a protocol error that quotes nothing", async () => {
  const headers = { "content-type": "application/json" };
  const cut = await outcome(new Response('{"access_token":"eyJhbGciOi', { headers }));
  assert.equal(cut.kind, "protocol");
  assert.doesNotMatch(cut.message + cut.stack + String(cut.cause), /eyJ/);
  const latin = await outcome(new Response(new Uint8Array([0x22, 0xe9, 0x22]), { headers }));
  assert.equal(latin.kind, "protocol");
});

test("an answer that is cut off is a protocol error", async () => {
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('{"keys":'));
      controller.error(new TypeError("terminated"));
    },
  });
  const error = await outcome(() => new Response(body, { headers: { "content-type": "application/json" } }));
  assert.equal(error.kind, "protocol");
  assert.match(error.message, /cut off/);
});

test("reading stops at 1 MiB", async () => {
  let chunks = 0;
  const body = new ReadableStream({
    pull(controller) {
      chunks++;
      controller.enqueue(new Uint8Array(1 << 16).fill(0x20));
    },
  });
  const error = await outcome(() => new Response(body, { headers: { "content-type": "application/json" } }));
  assert.equal(error.kind, "protocol");
  assert.match(error.message, /larger than 1048576 bytes/);
  assert.ok(chunks < 20, `${chunks} chunks of 64 KiB`);
});

test("a server that hangs is a timeout, even with a fetch that heeds no signal", async () => {
  const deaf = await outcome(() => new Promise<Response>(() => {}), { timeout: 5 });
  assert.deepEqual([deaf.kind, deaf.retryable], ["timeout", true]);
  const drip = new ReadableStream({ pull: () => new Promise(() => {}) });
  const slow = await outcome(() => new Response(drip, { headers: { "content-type": "application/json" } }), {
    timeout: 5,
  });
  assert.equal(slow.kind, "timeout");
});

test("the token endpoint has a shorter time-out of its own", async () => {
  const server = new FakeServer({ "POST /oauth2/token": () => new Promise<Response>(() => {}) });
  const { client } = clientOf(server, { tokenTimeout: 5, retries: 0 });
  await assert.rejects(client.accessToken(), { kind: "timeout", message: /within 5 ms/ });
});

test("TLS failures say what to do", async () => {
  const fixes = {
    DEPTH_ZERO_SELF_SIGNED_CERT: /MARQUE_CA_FILE/,
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: /MARQUE_CA_FILE/,
    CERT_HAS_EXPIRED: /renew it on the server, or set this machine's clock/,
    CERT_NOT_YET_VALID: /set this machine's clock/,
    ERR_TLS_CERT_ALTNAME_INVALID: /the issuer must use a name that is in the certificate/,
    CERT_OF_TOMORROW: /MARQUE_CA_FILE/,
    EPROTO: /the port where Marque listens/,
  };
  for (const [code, fix] of Object.entries(fixes)) {
    const cause = Object.assign(new Error("tls"), { code });
    const error = await outcome(new TypeError("fetch failed", { cause }));
    assert.deepEqual([error.kind, error.retryable], ["tls", false], code);
    assert.match(error.message, fix);
  }
});

test("a connection that fails names the address and the reason", async () => {
  const cause = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:1"), { code: "ECONNREFUSED" });
  const error = await outcome(new TypeError("fetch failed", { cause: new AggregateError([cause]) }));
  assert.deepEqual([error.kind, error.retryable], ["connection", true]);
  assert.match(error.message, /no connection to https:\/\/auth\.example\.com: connect ECONNREFUSED .*\(ECONNREFUSED\)/);
});

test("an issuer that cannot be one is refused at once", () => {
  const issuers = ["auth.example.com", "http://auth.example.com", "https://u:p@a.example", "https://a.example?x", ""];
  for (const issuer of issuers) {
    assert.throws(() => clientOf(new FakeServer({}), { issuer }), { kind: "configuration" }, issuer);
  }
});

test("an empty body that claims to be JSON is a protocol error", async () => {
  const error = await outcome(new Response("", { headers: { "content-type": "application/json" } }));
  assert.equal(error.kind, "protocol");
});

test("an answer without a body is no value", async () => {
  const headers = { "content-type": "application/json" };
  for (const empty of [new Response(null, { status: 204, headers }), new Response(null, { status: 200 })]) {
    const server = new FakeServer({ [`GET ${jwks}`]: empty });
    assert.equal(await clientOf(server, { credential: null }).client.jwks.get(), undefined);
  }
});

test("requests carry no cookies and ask for JSON", async () => {
  let init: RequestInit | undefined;
  const { client } = clientOf(new FakeServer({}), {
    credential: null,
    fetch: async (_, given) => {
      init = given;
      return json({});
    },
  });
  await client.jwks.get();
  assert.deepEqual([init?.credentials, init?.redirect, init?.cache], ["omit", "manual", "no-store"]);
  assert.equal(new Headers(init?.headers).get("accept"), "application/json");
});
