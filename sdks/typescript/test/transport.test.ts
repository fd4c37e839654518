import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { ApiError, type AttemptResult, CanceledError, ConfigurationError, Secret } from "../src/index.js";
import { clientOf, transportOf } from "./support/client.js";
import { FakeServer, json, problem, token } from "./support/fakes.js";

const ACCOUNT = { id: "sa_9", name: "reader", kind: "of tomorrow", labels: {}, unheard_of: 1 };
const one = "/v1/service-accounts/sa_9";

test("a call carries a token and gives the decoded answer, unknown values and members included", async () => {
  const server = new FakeServer({
    "POST /oauth2/token": token("t1"),
    [`GET ${one}`]: json(ACCOUNT, 200, { etag: '"7"', "x-request-id": "req_5" }),
  });
  const { client } = clientOf(server);
  const { data, response } = await client.serviceAccounts.get("sa_9").withResponse();
  assert.deepEqual(data as unknown, ACCOUNT);
  assert.equal(response.etag, '"7"');
  assert.equal(response.requestId, "req_5");
  assert.equal(response.text(), JSON.stringify(ACCOUNT));
  assert.equal(server.to(one)[0]?.headers.get("authorization"), "Bearer t1");
  assert.equal(server.to("/oauth2/token")[0]?.body, "grant_type=client_credentials&resource=urn%3Amarque%3Amanagement");
});

test("an idempotent call is repeated twice with growing waits, then fails with the last error", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1"), [`GET ${one}`]: problem(503, "unavailable") });
  const { client, clock } = clientOf(server);
  await assert.rejects(client.serviceAccounts.get("sa_9"), (error: ApiError) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.kind, error.status, error.code, error.requestId], ["api", 503, "unavailable", "req_1"]);
    assert.equal(error.retryable, true);
    return true;
  });
  assert.equal(server.to(one).length, 3);
  const [first = 0, second = 0] = clock.slept;
  assert.ok(first >= 250 && first <= 500, `${first}`);
  assert.ok(second >= 500 && second <= 1000, `${second}`);
});

test("a Retry-After up to 60 s is waited for exactly; a longer one is the caller's to decide on", async () => {
  const patient = new FakeServer({
    "POST /oauth2/token": token("t1"),
    [`GET ${one}`]: [problem(429, "rate_limited", { "retry-after": "60" }), json(ACCOUNT)],
  });
  const { client, clock } = clientOf(patient);
  await client.serviceAccounts.get("sa_9");
  assert.deepEqual(clock.slept, [60_000]);

  const server = new FakeServer({
    "POST /oauth2/token": token("t1"),
    [`GET ${one}`]: problem(429, "rate_limited", { "retry-after": "61" }),
  });
  const other = clientOf(server);
  await assert.rejects(other.client.serviceAccounts.get("sa_9"), { kind: "api", retryAfter: 61_000 });
  assert.equal(server.to(one).length, 1);
  assert.deepEqual(other.clock.slept, []);
});

test("a Retry-After may be a date", async () => {
  const { client, clock } = clientOf(
    new FakeServer({
      "POST /oauth2/token": token("t1"),
      [`GET ${one}`]: [problem(503, "unavailable", { "retry-after": "Mon, 02 Nov 2026 09:30:07 GMT" }), json(ACCOUNT)],
    }),
  );
  await client.serviceAccounts.get("sa_9");
  assert.deepEqual(clock.slept, [7_000]);
});

// The contract has no such POST; the rule is for the day when it has one.
test("a POST that the contract does not mark is sent once, whatever happens to it", async () => {
  const unsafe = {
    id: "things.make",
    method: "POST",
    path: "/v1/things",
    auth: "bearer",
    idempotent: false,
    contentType: "application/json",
  } as const;
  for (const failure of [problem(503, "unavailable"), problem(429, "rate_limited"), new TypeError("fetch failed")]) {
    const server = new FakeServer({ "POST /oauth2/token": token("t1"), "POST /v1/things": failure });
    await assert.rejects(transportOf(server).request(unsafe, { body: { name: "reader" } }));
    assert.equal(server.to("/v1/things").length, 1);
    assert.equal(server.to("/v1/things")[0]?.headers.has("idempotency-key"), false);
  }
});

test("a creation is repeated under its Idempotency-Key, whatever happens to it", async () => {
  for (const failure of [problem(503, "unavailable"), problem(429, "rate_limited"), new TypeError("fetch failed")]) {
    const server = new FakeServer({
      "POST /oauth2/token": token("t1"),
      "POST /v1/service-accounts": [failure, json(ACCOUNT, 201)],
    });
    await clientOf(server).client.serviceAccounts.create({ name: "reader", owner: "me" });
    const [first, second] = server.to("/v1/service-accounts").map((sent) => sent.headers.get("idempotency-key"));
    assert.ok(first);
    assert.equal(first, second);
  }
});

test("a repetition is told what became of the first", async () => {
  const path = `${one}/client-secrets`;
  const server = new FakeServer({
    "POST /oauth2/token": token("t1"),
    [`POST ${path}`]: [
      problem(409, "idempotency_key_in_progress", { "retry-after": "1" }),
      json({ code: "secret_already_issued", title: "t", status: 409, id: "sec_7" }, 409),
    ],
  });
  const { client, clock } = clientOf(server);
  await assert.rejects(client.clientSecrets.create("sa_9"), (error: ApiError) => {
    assert.deepEqual([error.code, error.issuedId, error.retryable], ["secret_already_issued", "sec_7", false]);
    return true;
  });
  assert.deepEqual(clock.slept, [1_000]);
});

test("a POST that the contract marks is repeated under one Idempotency-Key, another call has another", async () => {
  const path = `${one}/disable`;
  const server = new FakeServer({
    "POST /oauth2/token": token("t1"),
    [`POST ${path}`]: [new TypeError("fetch failed"), json(ACCOUNT), json(ACCOUNT)],
  });
  const { client } = clientOf(server);
  await client.serviceAccounts.disable("sa_9");
  await client.serviceAccounts.disable("sa_9");
  await client.serviceAccounts.disable("sa_9", { idempotencyKey: "mine" });
  const keys = server.to(path).map((sent) => sent.headers.get("idempotency-key"));
  assert.equal(keys.length, 4);
  assert.ok(keys[0]);
  assert.equal(keys[0], keys[1]);
  assert.notEqual(keys[1], keys[2]);
  assert.equal(keys[3], "mine");
});

test("a 401 drops the token and replays once, even a creation, which was not carried out", async () => {
  const server = new FakeServer({
    "POST /oauth2/token": [token("t1"), token("t2")],
    "POST /v1/service-accounts": [problem(401, "invalid_token"), json(ACCOUNT, 201)],
  });
  const { client } = clientOf(server);
  await client.serviceAccounts.create({ name: "reader", owner: "me" });
  const sent = server.to("/v1/service-accounts").map((request) => request.headers.get("authorization"));
  assert.deepEqual(sent, ["Bearer t1", "Bearer t2"]);
});

test("a second 401 is the caller's", async () => {
  const server = new FakeServer({
    "POST /oauth2/token": [token("t1"), token("t2")],
    [`GET ${one}`]: problem(401, "invalid_token"),
  });
  await assert.rejects(clientOf(server).client.serviceAccounts.get("sa_9"), { kind: "api", code: "invalid_token" });
  assert.equal(server.to(one).length, 2);
});

test("absent and null differ in a merge patch, and If-Match is sent", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1"), [`PATCH ${one}`]: json(ACCOUNT) });
  await clientOf(server).client.serviceAccounts.update("sa_9", { description: null }, { ifMatch: '"7"' });
  const [sent] = server.to(one);
  assert.equal(sent?.body, '{"description":null}');
  assert.equal(sent?.headers.get("content-type"), "application/merge-patch+json");
  assert.equal(sent?.headers.get("if-match"), '"7"');
});

test("path parameters cannot leave their place, and empty ones are refused", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1"), "GET /v1/service-accounts/a%2F..%2Fb": json({}) });
  const { client } = clientOf(server);
  await client.serviceAccounts.get("a/../b");
  for (const id of ["", ".", ".."]) await assert.rejects(client.serviceAccounts.get(id), ConfigurationError);
});

test("query parameters repeat for lists and are left out when undefined", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1"), "GET /v1/service-accounts": json({ items: [] }) });
  const { client } = clientOf(server);
  await client.serviceAccounts.list({ label: ["a=1", "b=2"], owner: undefined, page_size: 5 }).first();
  assert.equal(server.to("/v1/service-accounts")[0]?.url.search, "?label=a%3D1&label=b%3D2&page_size=5");
});

test("secrets in an answer are masked, and revealed again where they are sent", async () => {
  const server = new FakeServer({
    "POST /oauth2/token": token("t1"),
    [`POST ${one}/client-secrets`]: json({ id: "sec_1", client_secret: "mqs_new" }, 201),
    "POST /oauth2/revoke": new Response(null, { status: 200 }),
  });
  const { client } = clientOf(server);
  const { client_secret: secret } = await client.clientSecrets.create("sa_9");
  assert.ok(secret instanceof Secret);
  await client.tokens.revoke({ token: secret });
  const [sent] = server.to("/oauth2/revoke");
  assert.equal(sent?.body, "token=mqs_new");
  assert.match(sent?.headers.get("authorization") ?? "", /^Basic /);
});

test("a client id in the form is the sign-in, and there is no second one", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1") });
  const { client } = clientOf(server);
  const answer = await client.tokens.issue({ grant_type: "client_credentials", client_id: "x", client_secret: "y" });
  assert.equal(answer.access_token.reveal(), "t1");
  assert.equal(server.sent[0]?.headers.has("authorization"), false);
});

test("Basic credentials are form-urlencoded before they are joined", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1") });
  const { client } = clientOf(server, { clientId: "a:b", clientSecret: "p+ %ü" });
  await client.accessToken();
  const header = server.sent[0]?.headers.get("authorization")?.slice("Basic ".length) ?? "";
  assert.equal(atob(header), "a%3Ab:p%2B+%25%C3%BC");
});

test("a signal ends a call before it is sent, and while it waits for its next attempt", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1"), [`GET ${one}`]: problem(503, "unavailable") });
  const { client } = clientOf(server);
  await assert.rejects(client.serviceAccounts.get("sa_9", { signal: AbortSignal.abort() }), CanceledError);
  assert.equal(server.to(one).length, 0);

  const controller = new AbortController();
  const hooks = {
    afterAttempt: ({ operation }: AttemptResult) => void (operation !== "tokens.issue" && controller.abort()),
  };
  const watched = clientOf(server, { hooks }).client;
  await assert.rejects(watched.serviceAccounts.get("sa_9", { signal: controller.signal }), {
    kind: "canceled",
    name: "AbortError",
  });
  assert.equal(server.to(one).length, 1);
});

test("hooks see each attempt and may add headers, but never see the credential", async () => {
  const server = new FakeServer({
    "POST /oauth2/token": token("t1"),
    [`GET ${one}`]: [problem(503, "unavailable"), json(ACCOUNT)],
  });
  const seen: string[] = [];
  const { client } = clientOf(server, {
    hooks: {
      beforeAttempt({ operation, number, headers }) {
        headers.set("traceparent", "00-1-2-01");
        assert.equal(headers.has("authorization"), false);
        seen.push(`> ${operation} ${number}`);
      },
      afterAttempt: ({ operation, number, status }) => void seen.push(`< ${operation} ${number} ${status}`),
    },
  });
  await client.serviceAccounts.get("sa_9");
  assert.deepEqual(seen, [
    "> tokens.issue 1",
    "< tokens.issue 1 200",
    "> service_accounts.get 1",
    "< service_accounts.get 1 503",
    "> service_accounts.get 2",
    "< service_accounts.get 2 200",
  ]);
  assert.equal(server.to(one)[0]?.headers.get("traceparent"), "00-1-2-01");
});

test("a caller's headers cannot replace the credential", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1"), "GET /v1/whoami": json({}) });
  await clientOf(server).client.whoami.get({ headers: { Authorization: "Bearer mine", "X-Mine": "1" } });
  const [sent] = server.to("/v1/whoami");
  assert.equal(sent?.headers.get("authorization"), "Bearer t1");
  assert.equal(sent?.headers.get("x-mine"), "1");
});

test("without a credential only calls that need none work", async () => {
  const server = new FakeServer({ "GET /.well-known/jwks.json": json({ keys: [] }) });
  const { client } = clientOf(server, { credential: null });
  assert.deepEqual(await client.jwks.get(), { keys: [] });
  assert.equal(server.sent[0]?.headers.has("authorization"), false);
  await assert.rejects(client.whoami.get(), ConfigurationError);
  await assert.rejects(client.tokens.introspect({ token: "x" }), ConfigurationError);
});

test("the metadata of an issuer with a path stands before that path, everything else after it", async () => {
  const server = new FakeServer({
    "GET /.well-known/oauth-authorization-server/tenant": json({}),
    "GET /tenant/.well-known/jwks.json": json({}),
  });
  const { client } = clientOf(server, { credential: null, issuer: "https://auth.example.com/tenant" });
  await client.metadata.get();
  await client.jwks.get();
});

test("findings on members of a request are in the error and in its message", async () => {
  const errors = [{ pointer: "/owner", detail: "is required" }, "no finding"];
  const server = new FakeServer({
    "POST /oauth2/token": token("t1"),
    "POST /v1/service-accounts": json({ code: "invalid_request", detail: "1 invalid member", errors }, 400),
  });
  await assert.rejects(clientOf(server).client.serviceAccounts.create({ name: "", owner: "" }), (error: ApiError) => {
    assert.deepEqual(error.fields, [{ pointer: "/owner", detail: "is required" }]);
    assert.match(error.message, /\/owner is required/);
    return true;
  });
});

test("what uses a thing that was to go is in the error", async () => {
  const items = [{ kind: "service_account", id: "sa_1", name: "clerk" }, { kind: "role" }];
  const server = new FakeServer({
    "POST /oauth2/token": token("t1"),
    "DELETE /v1/roles/role_1": json({ code: "in_use", detail: "in use", in_use: { count: 21, items } }, 409),
  });
  await assert.rejects(clientOf(server).client.roles.delete("role_1"), (error: ApiError) => {
    assert.deepEqual(error.inUse, { count: 21, items: [{ kind: "service_account", id: "sa_1", name: "clerk" }] });
    return true;
  });
});

test("an error without a body of ours keeps its status", async () => {
  const server = new FakeServer({
    "POST /oauth2/token": token("t1"),
    "GET /v1/whoami": new Response("<html>Bad Gateway", { status: 502, headers: { "content-type": "text/html" } }),
  });
  await assert.rejects(clientOf(server).client.whoami.get(), (error: ApiError) => {
    assert.deepEqual([error.kind, error.status, error.code, error.retryable], ["api", 502, undefined, true]);
    assert.equal(error.rawBody(), "<html>Bad Gateway");
    return true;
  });
});

test("impossible settings are refused", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1"), "GET /v1/whoami": json({}) });
  const refused = { kind: "configuration" };
  for (const timeout of [0, -1, Number.NaN, 2 ** 31, Number.POSITIVE_INFINITY]) {
    assert.throws(() => clientOf(server, { timeout }), refused);
    assert.throws(() => clientOf(server, { tokenTimeout: timeout }), refused);
    await assert.rejects(clientOf(server).client.whoami.get({ timeout }), refused);
  }
  for (const retries of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => clientOf(server, { retries }), refused);
    await assert.rejects(clientOf(server).client.whoami.get({ retries }), refused);
  }
  assert.throws(() => clientOf(server, { refreshWindows: { advisory: Number.NaN, mandatory: 0 } }), refused);
  assert.throws(() => clientOf(server, { refreshWindows: { advisory: 0, mandatory: -1 } }), refused);
});

test("a server's words cannot forge lines of a log, nor fill it", async () => {
  const detail = `no\r\nlevel=error msg="it was me"\u001b[31m${"x".repeat(5_000)}`;
  const server = new FakeServer({
    "POST /oauth2/token": token("t1"),
    "GET /v1/whoami": json({ code: "x", detail }, 400),
  });
  await assert.rejects(clientOf(server).client.whoami.get(), (error: ApiError) => {
    assert.doesNotMatch(error.message, /\p{Cc}/u);
    assert.ok(error.message.length < 1_100);
    return true;
  });
});

test("a signal that lives long does not remember the calls that were made with it", async () => {
  const server = new FakeServer({ "POST /oauth2/token": token("t1"), "GET /v1/whoami": json({}), "GET /x": json({}) });
  const { client } = clientOf(server);
  const { signal } = new AbortController();
  for (let i = 0; i < 20; i++) {
    await client.whoami.get({ signal });
    await client.fetchFor({ origins: ["https://api.example.com"] })("https://api.example.com/x", { signal });
  }
  assert.equal(getEventListeners(signal, "abort").length, 0);
});
