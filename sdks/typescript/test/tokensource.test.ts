import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuthenticationError } from "../src/index.js";
import { clientOf } from "./support/client.js";
import { deferred, FakeServer, json, problem, settle, token } from "./support/fakes.js";

const refused = json({ error: "invalid_client", error_description: "no" }, 401, { "x-request-id": "req_9" });
const busy = json({ error: "temporarily_unavailable" }, 503);

const issuing = (...answers: ConstructorParameters<typeof FakeServer>[0][string][]) =>
  new FakeServer({ "POST /oauth2/token": answers.flat() });

test("1,000 callers at once with nothing cached make one request, also when the first gives up", async () => {
  const answer = deferred<Response>();
  const server = issuing(() => answer.promise);
  const { client } = clientOf(server);
  const first = new AbortController();
  const leader = client.accessToken({}, { signal: first.signal });
  const others = Array.from({ length: 999 }, () => client.accessToken());
  await settle();
  first.abort();
  await assert.rejects(leader, { kind: "canceled" });
  answer.resolve(token("t1"));
  const tokens = await Promise.all(others);
  assert.equal(server.sent.length, 1);
  assert.ok(tokens.every((got) => got.token.reveal() === "t1"));
  assert.equal((await client.accessToken()).token.reveal(), "t1");
  assert.equal(server.sent.length, 1);
});

test("what everybody has given up is still kept when it comes", async () => {
  const answer = deferred<Response>();
  const server = issuing(() => answer.promise);
  const { client } = clientOf(server);
  const controller = new AbortController();
  const only = client.accessToken({}, { signal: controller.signal });
  await settle();
  controller.abort();
  await assert.rejects(only, { kind: "canceled" });
  answer.resolve(token("t1"));
  await settle();
  assert.equal((await client.accessToken()).token.reveal(), "t1");
  assert.equal(server.sent.length, 1);
});

test("a deadline of the caller's own is a timeout, not a cancellation", async () => {
  const { client } = clientOf(issuing(() => new Promise<Response>(() => {})));
  await assert.rejects(client.accessToken({}, { signal: AbortSignal.timeout(1) }), { kind: "timeout" });
});

test("a token of 60 s is got once, and renewed in the background from half of its life on", async () => {
  const server = issuing(token("t1", 60), token("t2", 60));
  const { client, clock } = clientOf(server);
  for (let i = 0; i < 30; i++) {
    assert.equal((await client.accessToken()).token.reveal(), "t1");
    if (i < 29) clock.advance(1_000);
  }
  assert.equal(server.sent.length, 1);
  clock.advance(1_000); // 30 s left
  assert.equal((await client.accessToken()).token.reveal(), "t1");
  await settle();
  assert.equal(server.sent.length, 2);
  assert.equal((await client.accessToken()).token.reveal(), "t2");
});

test("a long-lived token is renewed in the background in its last 120 s", async () => {
  const server = issuing(token("t1", 3600), token("t2", 3600));
  const { client, clock } = clientOf(server);
  await client.accessToken();
  clock.advance(3_479_000);
  await client.accessToken();
  await settle();
  assert.equal(server.sent.length, 1);
  clock.advance(1_000);
  await Promise.all([client.accessToken(), client.accessToken()]);
  await settle();
  assert.equal(server.sent.length, 2);
});

test("in the mandatory window callers wait for the renewal, and fail with it", async () => {
  const server = issuing(token("t1", 100), refused, token("t3", 100));
  const { client, clock } = clientOf(server);
  await client.accessToken();
  clock.advance(75_000); // 25 s left, a quarter
  await assert.rejects(client.accessToken(), { kind: "authentication" });
  assert.equal((await client.accessToken()).token.reveal(), "t3");
});

test("after a failure in the background nothing is tried for 5 s, and the cached token is served", async () => {
  const server = issuing(token("t1", 100), busy, token("t3", 100));
  const { client, clock } = clientOf(server);
  await client.accessToken();
  clock.advance(50_000);
  for (let i = 0; i < 5; i++) {
    assert.equal((await client.accessToken()).token.reveal(), "t1");
    await settle();
  }
  assert.equal(server.sent.length, 2, "one attempt: nobody waits, so it is not repeated");
  assert.deepEqual(clock.slept, []);
  clock.advance(4_999);
  await client.accessToken();
  await settle();
  assert.equal(server.sent.length, 2);
  clock.advance(1);
  await client.accessToken();
  await settle();
  assert.equal((await client.accessToken()).token.reveal(), "t3");
});

test("both windows can be set", async () => {
  const server = issuing(token("t1", 100), token("t2", 100), token("t3", 100));
  const { client } = clientOf(server, { refreshWindows: { advisory: 600_000, mandatory: 30_000 } });
  assert.equal((await client.accessToken()).token.reveal(), "t1");
  assert.equal((await client.accessToken()).token.reveal(), "t1");
  await settle();
  assert.equal(server.sent.length, 2);
});

test("a refusal of the client is final and says what to look at", async () => {
  for (const error of ["invalid_client", "invalid_grant", "unauthorized_client"]) {
    const server = issuing(json({ error, error_description: "no" }, error === "invalid_client" ? 401 : 400));
    const { client, clock } = clientOf(server);
    await assert.rejects(client.accessToken(), { kind: "authentication", code: error, retryable: false });
    assert.equal(server.sent.length, 1);
    assert.deepEqual(clock.slept, []);
  }
  await assert.rejects(clientOf(issuing(refused)).client.accessToken(), (error: AuthenticationError) => {
    assert.deepEqual([error.status, error.requestId], [401, "req_9"]);
    assert.match(error.message, /client sa_1 from the constructor was not accepted/);
    return true;
  });
});

test("5xx and 429 are repeated while somebody waits", async () => {
  const server = issuing(busy, problem(429, "rate_limited", { "retry-after": "3" }), token("t1"));
  const { client, clock } = clientOf(server);
  await client.accessToken();
  assert.equal(server.sent.length, 3);
  assert.equal(clock.slept[1], 3_000);

  const down = issuing(busy);
  await assert.rejects(clientOf(down).client.accessToken(), { kind: "authentication", status: 503, retryable: true });
  assert.equal(down.sent.length, 3);
});

test("a token endpoint out of reach keeps the kind of its failure", async () => {
  const server = issuing(new TypeError("fetch failed"));
  await assert.rejects(clientOf(server).client.accessToken(), { kind: "connection", retryable: true });
  assert.equal(server.sent.length, 3);
});

test("tokens that are of no use are refused", async () => {
  const bodies = {
    expired: { expires_in: 0 },
    "expired long ago": { expires_in: -5 },
    "no lifetime": { expires_in: undefined },
    "lifetime as text": { expires_in: "900" },
    "of another type": { token_type: "mac" },
    "of no type": { token_type: undefined },
    "DPoP, which nobody asked for": { token_type: "DPoP" },
    empty: { access_token: "" },
    "not a text": { access_token: 7 },
    "not for a header": { access_token: "eyJ\nX: 1" },
  };
  for (const [name, members] of Object.entries(bodies)) {
    const { client } = clientOf(issuing(token("t1", 900, members)));
    await assert.rejects(client.accessToken(), { kind: "authentication", status: 200 }, name);
  }
});

test("the type of a token is compared without regard to case", async () => {
  const { client } = clientOf(issuing(token("t1", 900, { token_type: "bearer" })));
  assert.equal((await client.accessToken()).type, "Bearer");
});

test("a token's life counts from before the request was sent", async () => {
  const server = new FakeServer({
    "POST /oauth2/token": () => {
      clock.advance(10_000);
      return token("t1", 100);
    },
  });
  const { client, clock } = clientOf(server);
  const began = clock.now();
  assert.equal((await client.accessToken()).expiresAt.getTime(), began + 100_000);
});

test("each audience and each set of scopes has a token of its own, whatever the order", async () => {
  const server = issuing(() => token(`t${server.sent.length}`));
  const { client } = clientOf(server, { resource: "https://default.example" });
  const get = async (...args: Parameters<typeof client.accessToken>) =>
    (await client.accessToken(...args)).token.reveal();
  assert.equal(await get(), "t1");
  assert.equal(await get({ resource: "https://a.example" }), "t2");
  assert.equal(await get({ resource: "https://a.example", scopes: ["b", "a"] }), "t3");
  assert.equal(await get({ resource: "https://a.example", scopes: ["a", "b", "a"] }), "t3");
  assert.equal(await get({ resource: "https://default.example" }), "t1");
  assert.deepEqual(
    server.sent.map(({ body }) => new URLSearchParams(body).get("resource")),
    ["https://default.example", "https://a.example", "https://a.example"],
  );
  assert.equal(new URLSearchParams(server.sent[2]?.body).get("scope"), "a b");
});

test("calls that fail together with one token get one new token", async () => {
  const server = new FakeServer({
    "POST /oauth2/token": [token("t1"), token("t2")],
    "GET /v1/whoami": ({ headers }) =>
      headers.get("authorization") === "Bearer t1" ? problem(401, "invalid_token") : json({ ok: true }),
  });
  const { client } = clientOf(server);
  await Promise.all(Array.from({ length: 20 }, () => client.whoami.get()));
  assert.equal(server.to("/oauth2/token").length, 2);
});

test("a late 401 for an old token leaves the new one in place", async () => {
  const late = deferred<Response>();
  const server = new FakeServer({
    "POST /oauth2/token": [token("t1"), token("t2")],
    "GET /v1/whoami": [() => late.promise, problem(401, "invalid_token"), json({})],
  });
  const { client } = clientOf(server);
  const slow = client.whoami.get();
  await settle();
  await client.whoami.get(); // t1 is refused, t2 is got
  late.resolve(problem(401, "invalid_token"));
  await slow;
  assert.equal(server.to("/oauth2/token").length, 2);
});

test("the secret is asked for at each request, so that it may change", async () => {
  const secrets = ["mqs_old", "mqs_new"];
  const server = issuing(refused, token("t1"));
  const { client } = clientOf(server, { clientSecret: async () => secrets.shift() ?? "" });
  await assert.rejects(client.accessToken(), { kind: "authentication" });
  await client.accessToken();
  const sent = server.sent.map(({ headers }) => atob(headers.get("authorization")?.slice(6) ?? ""));
  assert.deepEqual(sent, ["sa_1:mqs_old", "sa_1:mqs_new"]);
  await assert.rejects(clientOf(server, { clientSecret: () => "" }).client.accessToken(), { kind: "configuration" });
});
