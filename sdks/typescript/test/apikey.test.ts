import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import {
  ApiKeyCredential,
  Marque as BrowserMarque,
  ConfigurationError,
  type MarqueError,
  Secret,
} from "../src/index.js";
import { Marque, type NodeMarqueOptions } from "../src/node/index.js";
import { clientOf, SECRET } from "./support/client.js";
import { deferred, FakeServer, ISSUER, json, problem, settle, token } from "./support/fakes.js";

const KEY = "mqk_ThisIsTheKeyOne0123456789abcdefghijklmnopqr0oYG3u";
const OTHER_KEY = "mqk_ThisIsTheKeyTwo0123456789abcdefghijklmnopqr3Q45bU";
const LOGIN = "POST /v1/login";
const byKey = { clientId: undefined, clientSecret: undefined, apiKey: KEY };
const account = json({ id: "sa_1", permissions: [] });

const keyOf = (sent: { body: string } | undefined) => (JSON.parse(sent?.body ?? "{}") as { api_key?: string }).api_key;

test("an API key gets a token, and is in no other request", async () => {
  const server = new FakeServer({ [LOGIN]: [token("t1"), token("t2")], "GET /v1/whoami": account });
  const { client } = clientOf(server, byKey);
  await client.whoami.get();
  await client.whoami.get();
  await client.accessToken({ resource: "https://api", scopes: ["b", "a"] });
  const logins = server.to("/v1/login");
  assert.deepEqual(
    logins.map((sent) => JSON.parse(sent.body) as unknown),
    [
      { api_key: KEY, resource: "urn:marque:management" },
      { api_key: KEY, resource: "https://api", scope: "a b" },
    ],
  );
  for (const { headers, url } of logins) {
    assert.equal(headers.get("content-type"), "application/json");
    assert.equal(headers.get("authorization"), null);
    assert.equal(headers.get("idempotency-key"), null);
    assert.equal(url.href, `${ISSUER}/v1/login`);
  }
  const others = server.to("/v1/whoami");
  assert.deepEqual(
    others.map((sent) => sent.headers.get("authorization")),
    ["Bearer t1", "Bearer t1"],
  );
  assert.ok(!inspect(others, { depth: null }).includes(KEY));
});

test("1,000 callers at once sign in by API key once, also when the first gives up", async () => {
  const answer = deferred<Response>();
  const server = new FakeServer({ [LOGIN]: () => answer.promise });
  const { client } = clientOf(server, byKey);
  const first = new AbortController();
  const leader = client.accessToken({}, { signal: first.signal });
  const others = Array.from({ length: 999 }, () => client.accessToken());
  await settle();
  first.abort();
  await assert.rejects(leader, { kind: "canceled" });
  answer.resolve(token("t1"));
  assert.ok((await Promise.all(others)).every((got) => got.token.reveal() === "t1"));
  assert.equal(server.sent.length, 1);
});

test("a 401 drops the token that an API key brought", async () => {
  const server = new FakeServer({
    [LOGIN]: [token("t1"), token("t2")],
    "GET /v1/whoami": [problem(401, "invalid_token"), account],
  });
  await clientOf(server, byKey).client.whoami.get();
  assert.deepEqual(
    server.to("/v1/whoami").map((sent) => sent.headers.get("authorization")),
    ["Bearer t1", "Bearer t2"],
  );
});

test("an API key that is refused is not tried again, and the error has what the server said", async () => {
  const codes = { invalid_api_key: 401, malformed_api_key: 400, invalid_target: 400, invalid_scope: 400 };
  for (const [code, status] of Object.entries(codes)) {
    const server = new FakeServer({ [LOGIN]: problem(status, code) });
    const { client, clock } = clientOf(server, byKey);
    await assert.rejects(client.whoami.get(), {
      kind: "authentication",
      code,
      status,
      requestId: "req_1",
      retryable: false,
    });
    assert.equal(server.sent.length, 1, code);
    assert.deepEqual(clock.slept, []);
  }
});

test("a passing failure of the login is tried again while a caller waits", async () => {
  const busy = problem(429, "rate_limited", { "retry-after": "2" });
  const { client, clock } = clientOf(
    new FakeServer({ [LOGIN]: [busy, problem(503, "unavailable"), token("t1")] }),
    byKey,
  );
  assert.equal((await client.accessToken()).token.reveal(), "t1");
  assert.equal(clock.slept[0], 2_000);
  assert.equal(clock.slept.length, 2);
});

test("what cannot be an API key is told at construction, without a part of it", () => {
  const wrong: Record<string, RegExp> = {
    " \n": /is empty/,
    [SECRET]: /is a client secret/,
    hunter2hunter2: /does not begin with mqk_/,
    [KEY.slice(0, -1)]: /cut off or mistyped/,
    [`${KEY}0`]: /cut off or mistyped/,
    [KEY.replace("One", "0ne")]: /cut off or mistyped/,
    [KEY.replace("On", "nO")]: /cut off or mistyped/,
    [KEY.replace("One", "O-e")]: /cut off or mistyped/,
    [KEY.replace("One", "Oné")]: /cut off or mistyped/,
  };
  for (const [key, says] of Object.entries(wrong)) {
    assert.throws(
      () => clientOf(new FakeServer({}), { ...byKey, apiKey: key }),
      (error: MarqueError) => {
        assert.equal(error.kind, "configuration");
        assert.match(error.message, says);
        assert.ok(key.trim() === "" || !error.message.includes(key), error.message);
        return true;
      },
    );
  }
  clientOf(new FakeServer({}), { ...byKey, apiKey: new Secret(` ${KEY}\r\n`) });
});

test("an API key file, or a function, is asked at each use, and what is no key is not sent", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "marque-")), "key");
  writeFileSync(file, `  ${KEY} \n\n`);
  const server = new FakeServer({ [LOGIN]: token("t1") });
  const client = new Marque({ issuer: ISSUER, apiKeyFile: file, environment: {}, fetch: server.fetch });
  await client.accessToken({ resource: "a" });
  writeFileSync(file, KEY.slice(0, 20));
  await assert.rejects(client.accessToken({ resource: "b" }), {
    kind: "configuration",
    message: new RegExp(`${file}.*cut off or mistyped`),
  });
  writeFileSync(file, OTHER_KEY);
  await client.accessToken({ resource: "b" });
  writeFileSync(file, "\n");
  await assert.rejects(client.accessToken({ resource: "c" }), { kind: "configuration", message: /is empty/ });
  assert.deepEqual(server.sent.map(keyOf), [KEY, OTHER_KEY]);
  let calls = 0;
  const vault = async () => [KEY, OTHER_KEY][calls++] ?? "";
  const other = clientOf(server, { ...byKey, apiKey: vault }).client;
  await other.accessToken({ resource: "a" });
  await other.accessToken({ resource: "b" });
  assert.deepEqual(server.sent.slice(2).map(keyOf), [KEY, OTHER_KEY]);
});

test("with an API key the OAuth endpoints are called with a token", async () => {
  const server = new FakeServer({
    [LOGIN]: token("t1"),
    "POST /oauth2/introspect": json({ active: false }),
    "POST /oauth2/revoke": new Response(null, { status: 200 }),
  });
  const { client } = clientOf(server, byKey);
  await client.tokens.introspect({ token: "a-token" });
  await client.tokens.revoke({ token: "a-token" });
  for (const path of ["/oauth2/introspect", "/oauth2/revoke"]) {
    const [sent] = server.to(path);
    assert.equal(sent?.headers.get("authorization"), "Bearer t1", path);
    assert.equal(sent?.body, "token=a-token");
  }
  // What the caller signs is the caller's.
  await client.tokens.introspect({ token: "a-token", client_id: "sa_2", client_secret: SECRET });
  assert.equal(server.sent.at(-1)?.headers.get("authorization"), null);
  const before = server.sent.length;
  await assert.rejects(client.tokens.issue({ grant_type: "client_credentials" }), {
    kind: "configuration",
    message: /API key/,
  });
  assert.equal(server.sent.length, before);
});

test("no API key is in what is printed, logged or given to hooks", async () => {
  const echo = (sent: { body: string }) =>
    json(
      {
        code: "invalid_api_key",
        detail: `you sent ${sent.body}`,
        errors: [{ pointer: "/api_key", detail: sent.body }],
      },
      401,
    );
  const seen: unknown[] = [];
  const record = (...what: unknown[]) => void seen.push(what);
  const { client } = clientOf(new FakeServer({ [LOGIN]: echo }), {
    ...byKey,
    logger: { debug: record, warn: record },
    hooks: { beforeAttempt: record, afterAttempt: record },
  });
  const all = { depth: null, showHidden: true };
  const keep = (error: unknown) => seen.push(error, String(error), (error as Error).stack) > 0;
  await assert.rejects(client.accessToken(), keep);
  // The caller's own sign-in too, with what is no key by its form.
  await assert.rejects(client.tokens.login({ api_key: OTHER_KEY }), keep);
  await assert.rejects(client.tokens.login({ api_key: new Secret("not-a-key-but-secret") }), keep);
  const credential = new ApiKeyCredential(KEY);
  const printed = `${inspect([seen, client, credential, await credential.key()], all)} ${JSON.stringify([seen, client, credential])}`;
  for (const key of [KEY, OTHER_KEY, "not-a-key-but-secret"]) assert.ok(!printed.includes(key), key);
  assert.ok(printed.includes("you sent") && seen.length > 10);
});

/** Where a client of these settings signs in, and by which key. */
async function used(environment: Record<string, string>, options: NodeMarqueOptions = {}): Promise<string> {
  const server = new FakeServer({ [LOGIN]: token("t1") });
  await new Marque({ environment, fetch: server.fetch, ...options }).accessToken();
  return `${server.sent[0]?.url.origin} ${keyOf(server.sent[0])}`;
}

function profiles(): { XDG_CONFIG_HOME: string } {
  const dir = mkdtempSync(join(tmpdir(), "marque-"));
  mkdirSync(join(dir, "marque"));
  const file = join(dir, "marque", "config.json");
  const key = { issuer: ISSUER, api_key_file: "the-key" };
  writeFileSync(file, JSON.stringify({ current: "key", profiles: { key, both: { ...key, client_id: "sa_1" } } }));
  chmodSync(file, 0o600);
  writeFileSync(join(dir, "marque", "the-key"), `${KEY}\n`);
  return { XDG_CONFIG_HOME: dir };
}

test("the chain finds API keys: the constructor, then the environment, then the profile", async () => {
  const around = profiles();
  const file = join(around.XDG_CONFIG_HOME, "env-key");
  writeFileSync(file, `\t${OTHER_KEY}`);
  const issuer = "https://other.example.com";
  assert.equal(await used(around), `${ISSUER} ${KEY}`);
  assert.equal(
    await used({ ...around, MARQUE_ISSUER: issuer, MARQUE_API_KEY: ` ${OTHER_KEY}\n` }),
    `${issuer} ${OTHER_KEY}`,
  );
  assert.equal(await used({ ...around, MARQUE_API_KEY_FILE: file }), `${ISSUER} ${OTHER_KEY}`);
  assert.equal(await used({ ...around, MARQUE_API_KEY: OTHER_KEY }, { profile: "key" }), `${ISSUER} ${KEY}`);
  assert.equal(await used({ MARQUE_API_KEY: OTHER_KEY }, { issuer, apiKey: KEY }), `${issuer} ${KEY}`);
  const credential = new ApiKeyCredential(KEY);
  assert.equal(await used({ MARQUE_API_KEY: OTHER_KEY }, { issuer, credential }), `${issuer} ${KEY}`);
});

test("two ways to sign in are an error that names the settings, and so is nothing at all", () => {
  const around = profiles();
  const refusal = (environment: Record<string, string>, options: NodeMarqueOptions = {}) => {
    try {
      new Marque({ environment, issuer: ISSUER, ...options });
    } catch (error) {
      assert.ok(error instanceof ConfigurationError, String(error));
      assert.ok(!inspect(error).includes(KEY.slice(0, 20)));
      return error.message;
    }
    return assert.fail("it was accepted");
  };
  const client = { MARQUE_CLIENT_ID: "sa_1", MARQUE_CLIENT_SECRET: "mqs_1" };
  assert.match(
    refusal({ MARQUE_API_KEY: KEY, MARQUE_API_KEY_FILE: "/x" }),
    /both MARQUE_API_KEY and MARQUE_API_KEY_FILE/,
  );
  assert.match(refusal({ MARQUE_API_KEY: KEY, ...client }), /MARQUE_CLIENT_ID and MARQUE_API_KEY, which are two ways/);
  assert.match(
    refusal({ MARQUE_API_KEY_FILE: "/x", MARQUE_CLIENT_SECRET_FILE: "/y" }),
    /MARQUE_CLIENT_SECRET_FILE and MARQUE_API_KEY_FILE, which are two ways/,
  );
  assert.match(refusal({ MARQUE_API_KEY: KEY.slice(0, 30) }), /MARQUE_API_KEY.*cut off or mistyped/);
  assert.match(refusal({ MARQUE_KEY_FILE: "/x" }), /MARQUE_KEY_FILE is set, but/);
  assert.match(refusal({}, { apiKey: KEY, apiKeyFile: "/x" }), /both apiKey and apiKeyFile/);
  assert.match(refusal({}, { apiKey: KEY, clientId: "sa_1" }), /clientId and apiKey, which are two ways/);
  assert.match(refusal({ ...around, MARQUE_PROFILE: "both" }), /profile both .*client_id and api_key_file/);
  assert.match(refusal(around, { issuer: "https://other.example.com" }), /it is for the issuer https:\/\/auth/);
  const nothing = refusal({ XDG_CONFIG_HOME: mkdtempSync(join(tmpdir(), "marque-")) });
  assert.match(nothing, /the constructor: no clientId and no apiKey/);
  assert.match(nothing, /MARQUE_CLIENT_ID is not set, nor is MARQUE_API_KEY_FILE or MARQUE_API_KEY/);
});

test("without files, an API key of the environment works and files are said to need Node", async () => {
  const server = new FakeServer({ [LOGIN]: token("t1") });
  const environment = { MARQUE_ISSUER: ISSUER, MARQUE_API_KEY: KEY };
  const browser = new BrowserMarque({ environment, fetch: server.fetch });
  assert.equal((await browser.accessToken()).token.reveal(), "t1");
  const files = { MARQUE_ISSUER: ISSUER, MARQUE_API_KEY_FILE: "/x" };
  assert.throws(() => new BrowserMarque({ environment: files }), { message: /needs @marque\/sdk\/node/ });
});
