import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Marque, Secret } from "../src/index.js";
import { clientOf, SECRET } from "./support/client.js";
import { FakeServer, ISSUER, json, problem, token } from "./support/fakes.js";

const TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";

/** Every form in which the language prints a thing. */
function printed(value: unknown): string {
  const forms = [String(value), JSON.stringify(value), `${inspect(value, { depth: null, showHidden: true })}`];
  for (let at = value; at instanceof Error; at = at.cause) forms.push(at.message, at.stack ?? "", inspect(at));
  return forms.join("\n");
}

function assertClean(value: unknown): void {
  const text = printed(value);
  for (const secret of [SECRET, TOKEN, btoa(`sa_1:${SECRET}`)]) assert.ok(!text.includes(secret), text);
}

test("a secret is masked however it is printed, and is given to who asks for it", () => {
  const secret = new Secret(SECRET);
  assertClean(secret);
  assertClean({ nested: [secret] });
  assertClean(new Error("x", { cause: secret }));
  assert.equal(`${secret}`, "[secret]");
  assert.equal(`${JSON.stringify({ secret })}`, '{"secret":"[secret]"}');
  assert.equal(secret.reveal(), SECRET);
});

test("client, token and answers print without secrets", async () => {
  const server = new FakeServer({
    "POST /oauth2/token": token(TOKEN),
    "POST /v1/service-accounts/sa_9/client-secrets": json({ id: "sec_1", client_secret: SECRET }, 201),
  });
  const { client } = clientOf(server);
  assertClean(client);
  assertClean(await client.accessToken());
  const { data, response } = await client.clientSecrets.create("sa_9").withResponse();
  assertClean(data);
  assertClean(response);
  assertClean(client);
});

test("errors print without secrets, even if a server sends them back", async () => {
  const echo = json({ error: "invalid_client", error_description: `you sent ${SECRET} and ${TOKEN}` }, 401);
  await assert.rejects(clientOf(new FakeServer({ "POST /oauth2/token": echo })).client.accessToken(), (error) => {
    assertClean(error);
    return true;
  });
  const answers = [
    problem(403, "insufficient_scope", { "x-echo": TOKEN }),
    json({ detail: `the token ${TOKEN}` }, 400),
    new Response(`<html>${TOKEN}`, { headers: { "content-type": "text/html" } }),
    new Response(`{"token":"${TOKEN}`, { headers: { "content-type": "application/json" } }),
    new TypeError("fetch failed", { cause: Object.assign(new Error("reset"), { code: "ECONNRESET" }) }),
  ];
  for (const answer of answers) {
    const server = new FakeServer({ "POST /oauth2/token": token(TOKEN), "GET /v1/whoami": answer });
    await assert.rejects(clientOf(server).client.whoami.get(), (error) => {
      assertClean(error);
      return true;
    });
  }
});

test("a secret of any form that was sent is masked where the server repeats it", async () => {
  const [odd, opaque] = ["pass word+1", "opaque-token-number-one"];
  const echo = ({ headers }: { headers: Headers }) =>
    json({ error: "x", error_description: `${odd} ${headers.get("authorization")}` }, 401);
  const refusing = new FakeServer({ "POST /oauth2/token": echo });
  const answering = new FakeServer({
    "POST /oauth2/token": token(opaque),
    "GET /v1/whoami": ({ headers }) => {
      const said = headers.get("authorization") ?? "";
      return json({ code: "x", detail: said, errors: [{ pointer: "/x", detail: said }] }, 400);
    },
  });
  const attempts = [
    clientOf(refusing, { clientSecret: odd }).client.accessToken(),
    clientOf(answering).client.whoami.get(),
  ];
  for (const attempt of attempts) {
    await assert.rejects(attempt, (error) => !/pass word|opaque-token|c2FfMTpwYXNz/.test(printed(error)));
  }
});

test("nothing is logged unless a logger is given, and then no secret", async (t) => {
  const console = t.mock.method(globalThis.console, "log", () => {});
  const server = new FakeServer({
    "POST /oauth2/token": [token(TOKEN), json({ error: "server_error", error_description: SECRET }, 500)],
    "POST /v1/service-accounts/sa_9/client-secrets": json({ client_secret: SECRET }, 201),
    "GET /v1/whoami": problem(404, "not_found"),
  });
  await clientOf(server).client.clientSecrets.create("sa_9");
  assert.equal(console.mock.callCount(), 0);

  const records: unknown[] = [];
  const record = (...args: unknown[]) => void records.push(args);
  const { client, clock } = clientOf(server, { logger: { debug: record, warn: record } });
  await client.clientSecrets.create("sa_9").catch(() => {});
  await client.whoami.get().catch(() => {});
  clock.advance(1_000_000);
  await client.whoami.get().catch(() => {});
  assert.ok(records.length > 3);
  assertClean(records);
});

test("a constructor that refuses does not tell the secret", () => {
  const make = () => new Marque({ issuer: ISSUER, clientSecret: SECRET, environment: {} });
  assert.throws(make, (error) => {
    assertClean(error);
    return true;
  });
});
