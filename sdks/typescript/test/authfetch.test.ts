import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fetch, MarqueOptions } from "../src/index.js";
import { Marque } from "../src/index.js";
import { SECRET } from "./support/client.js";
import { FakeClock, ISSUER, token } from "./support/fakes.js";

const API = "https://invoices.example.com";

interface Seen {
  readonly authorization: string | null;
  readonly body: string;
  readonly accept: string | null;
}

/** An API that refuses the tokens that are listed, with the token endpoint beside it. */
function world(refused: string[] = [], options: MarqueOptions = {}) {
  const seen: Seen[] = [];
  let issued = 0;
  const fetch: Fetch = async (input, init) => {
    const request = new Request(input, init);
    if (request.url.startsWith(ISSUER)) return token(`t${++issued}`);
    const authorization = request.headers.get("authorization");
    seen.push({ authorization, body: await request.text(), accept: request.headers.get("accept") });
    const bad = refused.some((one) => authorization === `Bearer ${one}`);
    return new Response(bad ? "no" : "yes", { status: bad ? 401 : 200 });
  };
  const client = new Marque({
    issuer: ISSUER,
    clientId: "sa_1",
    clientSecret: SECRET,
    environment: {},
    clock: new FakeClock(),
    fetch,
    ...options,
  });
  return { client, seen, issued: () => issued };
}

test("each request carries a token for that API, and the caller's own headers", async () => {
  const { client, seen, issued } = world();
  const call = client.fetchFor({ resource: API });
  const response = await call(`${API}/v1/x`, { method: "POST", body: "hello", headers: { accept: "text/plain" } });
  assert.equal(await response.text(), "yes");
  await call(new Request(`${API}/v1/y`, { headers: { accept: "text/plain" } }));
  await call(new URL(`${API}/v1/z`));
  assert.deepEqual(seen[0], { authorization: "Bearer t1", body: "hello", accept: "text/plain" });
  assert.deepEqual(seen[1], { authorization: "Bearer t1", body: "", accept: "text/plain" });
  assert.equal(seen.length, 3);
  assert.equal(issued(), 1);
});

test("the token goes to the API's origin and those that are listed, and nowhere else", async () => {
  const { client, seen } = world();
  const call = client.fetchFor({ resource: API });
  for (const url of ["https://evil.example/x", "http://invoices.example.com/x", "https://invoices.example.com:444/"]) {
    await assert.rejects(call(url), { kind: "configuration" }, url);
  }
  await assert.rejects(call("/v1/x"), { kind: "configuration" });
  await assert.rejects(client.fetchFor({ resource: "urn:api" })(`${API}/x`), { kind: "configuration" });
  assert.equal(seen.length, 0);
  await client.fetchFor({ resource: "urn:api", origins: [API] })(`${API}/x`);
  assert.equal(seen.length, 1);
});

test("a token is sent over https only, but for this very machine", async () => {
  const { client, seen } = world();
  const origins = ["http://a.example", "http://localhost.evil.example", "http://127.0.0.1:80", "http://[::1]:80"];
  const call = client.fetchFor({ resource: API, origins: [...origins, "http://localhost:8080"] });
  for (const url of origins.slice(0, 2))
    await assert.rejects(call(url), { kind: "configuration", message: /https only/ });
  for (const url of ["http://localhost:8080/x", ...origins.slice(2)]) await call(url);
  assert.equal(seen.length, 3);
});

test("after a 401 the request is sent once more with a new token", async () => {
  const { client, seen } = world(["t1"]);
  const response = await client.fetchFor({ resource: API })(`${API}/x`, { method: "POST", body: "hello" });
  assert.equal(response.status, 200);
  assert.deepEqual(
    seen.map(({ authorization, body }) => [authorization, body]),
    [
      ["Bearer t1", "hello"],
      ["Bearer t2", "hello"],
    ],
  );
});

test("a body that can be read once is not sent again, but the next request has a new token", async () => {
  const { client, seen } = world(["t1"]);
  const call = client.fetchFor({ resource: API });
  const init = { method: "POST", body: new Blob(["hello"]).stream(), duplex: "half" } as RequestInit;
  assert.equal((await call(`${API}/x`, init)).status, 401);
  assert.equal(seen.length, 1);
  const request = new Request(`${API}/x`, { method: "POST", body: "hello" });
  assert.equal((await call(request)).status, 200);
  assert.equal(seen[1]?.authorization, "Bearer t2");
});

test("an API that refuses every token gets two requests", async () => {
  const { client, seen } = world(["t1", "t2", "t3"]);
  assert.equal((await client.fetchFor({ resource: API })(`${API}/x`)).status, 401);
  assert.equal(seen.length, 2);
});

test("the default audience and scopes are the client's", async () => {
  const { client, seen } = world([], { resource: API });
  await client.fetchFor()(`${API}/x`);
  assert.equal(seen.length, 1);
});

test("an API that hangs is a timeout, one that cannot be reached a connection error, a signal a cancellation", async () => {
  const hang: Fetch = (input) =>
    String(input).startsWith(ISSUER) ? Promise.resolve(token("t1")) : new Promise<Response>(() => {});
  const call = world([], { fetch: hang, timeout: 5 }).client.fetchFor({ resource: API });
  await assert.rejects(call(`${API}/x`), { kind: "timeout" });
  const controller = new AbortController();
  const patient = world([], { fetch: hang }).client.fetchFor({ resource: API });
  const pending = patient(`${API}/x`, { signal: controller.signal });
  controller.abort();
  await assert.rejects(pending, { kind: "canceled", name: "AbortError" });
  const down: Fetch = async (input) => {
    if (String(input).startsWith(ISSUER)) return token("t1");
    throw new TypeError("fetch failed");
  };
  await assert.rejects(world([], { fetch: down }).client.fetchFor({ resource: API })(`${API}/x`), {
    kind: "connection",
  });
});
