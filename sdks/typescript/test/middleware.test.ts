import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { test } from "node:test";
import express from "express";
import { guard, type MarqueError, principalOf, protect, type Verifier } from "../src/index.js";
import { FakeServer, json } from "./support/fakes.js";
import { JWKS, keyServer, newKey } from "./support/tokens.js";
import { verifierOf } from "./support/verifier.js";

const key = await newKey("key-1");
const token = await key.token();

interface Answer {
  readonly status: number;
  readonly challenge: string | null;
  readonly body: Record<string, unknown> | string;
}

/** Sends raw header lines to an Express app, and to a fetch handler; both must answer alike. */
async function ask(verifier: Verifier, lines: string[], path = "/x", scopes?: string[]): Promise<Answer> {
  const app = express();
  app.get("/x", protect(verifier, { scopes }), (request, response) => {
    response.end(principalOf(request).subject);
  });
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.write([`GET ${path} HTTP/1.1`, "Host: api.example.com", "Connection: close", ...lines, "", ""].join("\r\n"));
  let text = "";
  for await (const chunk of socket) text += chunk;
  server.close();
  const [head = "", body = ""] = text.split("\r\n\r\n");
  const status = Number(head.split(" ")[1]);
  const challenge = /^www-authenticate: (.*)$/im.exec(head)?.[1] ?? null;
  // The body is chunked or has a length: the text is in it either way.
  const answer = { status, challenge, body: parse(/\{.*\}/s.exec(body)?.[0] ?? /sa_\w+/.exec(body)?.[0] ?? body) };

  const headers = lines.map((line) => line.split(": ", 2) as [string, string]);
  const request = new Request(new URL(path, "https://api.example.com"), { headers });
  const response = await guard(verifier, (_, principal) => new Response(principal.subject), { scopes })(request);
  assert.deepEqual(
    {
      status: response.status,
      challenge: response.headers.get("www-authenticate"),
      body: parse(await response.text()),
    },
    answer,
  );
  return answer;
}

function parse(text: string): Record<string, unknown> | string {
  return text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : text;
}

const code = ({ body }: Answer) => (typeof body === "string" ? body : body.code);

test("a request with a good token reaches its handler, which finds the principal", async () => {
  const { verifier } = verifierOf(keyServer(key));
  for (const scheme of ["Bearer", "bearer", "BEARER"]) {
    const answer = await ask(verifier, [`Authorization: ${scheme} ${token}`]);
    assert.deepEqual([answer.status, answer.body], [200, "sa_1"]);
  }
});

test("no token is 401 with a bare challenge", async () => {
  const { verifier } = verifierOf(keyServer(key));
  for (const lines of [[], ["Authorization: Basic YTpi"]]) {
    const answer = await ask(verifier, lines);
    assert.deepEqual([answer.status, answer.challenge, code(answer)], [401, "Bearer", "unauthenticated"]);
  }
});

test("a bad token is 401 with one answer, whatever is wrong with it", async () => {
  const { verifier, clock } = verifierOf(keyServer(key));
  const bad = [
    "x",
    "a.b.c",
    await key.token({ aud: "https://b.example" }),
    await key.token({ iss: "https://b.example" }),
  ];
  const answers = [];
  for (const one of bad) answers.push(await ask(verifier, [`Authorization: Bearer ${one}`]));
  clock.advance(3_600_000);
  answers.push(await ask(verifier, [`Authorization: Bearer ${token}`]));
  for (const answer of answers) assert.deepEqual(answer, answers[0]);
  assert.deepEqual([answers[0]?.status, answers[0] && code(answers[0])], [401, "invalid_token"]);
  assert.match(answers[0]?.challenge ?? "", /error="invalid_token"/);
});

test("two headers, a token in the URL, or Bearer without a token is 400", async () => {
  const { verifier } = verifierOf(keyServer(key));
  const good = `Authorization: Bearer ${token}`;
  for (const answer of [
    await ask(verifier, [good, good]),
    await ask(verifier, [good, "Authorization: Basic YTpi"]),
    await ask(verifier, [good], `/x?access_token=${token}`),
    await ask(verifier, [], `/x?a=1&access_token=${token}`),
    await ask(verifier, ["Authorization: Bearer"]),
    await ask(verifier, [`Authorization: Bearer ${token} ${token}`]),
  ]) {
    assert.deepEqual([answer.status, code(answer)], [400, "invalid_request"]);
    assert.match(answer.challenge ?? "", /error="invalid_request"/);
  }
});

test("a missing permission is 403 and is named", async () => {
  const { verifier } = verifierOf(keyServer(key));
  const answer = await ask(verifier, [`Authorization: Bearer ${token}`], "/x", ["invoices:write"]);
  assert.deepEqual([answer.status, code(answer)], [403, "insufficient_scope"]);
  assert.equal(answer.challenge, 'Bearer error="insufficient_scope", scope="invoices:write"');
});

test("a token that is bound to a key is refused as a bearer token", async () => {
  const { verifier } = verifierOf(keyServer(key));
  const answer = await ask(verifier, [`Authorization: Bearer ${await key.token({ cnf: { jkt: "x" } })}`]);
  assert.deepEqual([answer.status, code(answer)], [401, "invalid_token"]);
});

test("keys out of reach are 503 with a Retry-After, never 401", async () => {
  const { verifier } = verifierOf(new FakeServer({ [`GET ${JWKS}`]: json({}, 500) }));
  const answer = await ask(verifier, [`Authorization: Bearer ${token}`]);
  assert.deepEqual([answer.status, answer.challenge, code(answer)], [503, null, "unavailable"]);
  const headers = { authorization: `Bearer ${token}` };
  const response = await guard(verifier, () => new Response())(new Request("https://api.example.com", { headers }));
  assert.equal(response.headers.get("retry-after"), "5");
});

test("why a request is refused is told to the owner of the API alone", async () => {
  const { verifier } = verifierOf(keyServer(key));
  const seen: (string | undefined)[] = [];
  const handle = guard(verifier, () => new Response(), { onRefusal: (error: MarqueError) => seen.push(error.code) });
  const headers = { authorization: `Bearer ${await key.token({ aud: "https://b.example" })}` };
  const response = await handle(new Request("https://api.example.com", { headers }));
  assert.deepEqual(seen, ["audience"]);
  assert.doesNotMatch(await response.text(), /audience/);
});

test("a mistake in the setup is an error of the server, not a bad token", async () => {
  const { verifier } = verifierOf(keyServer(key), { audience: undefined });
  const request = new Request("https://api.example.com", { headers: { authorization: `Bearer ${token}` } });
  await assert.rejects(guard(verifier, () => new Response())(request), { kind: "configuration" });
  const failed = await new Promise((next) => {
    const rawHeaders = ["Authorization", `Bearer ${token}`];
    protect(verifier)({ rawHeaders, url: "/x" }, { statusCode: 0, setHeader() {}, end() {} }, next);
  });
  assert.equal((failed as MarqueError).kind, "configuration");
  assert.throws(() => principalOf({}), /put it before the handler/);
});

test("a fetch handler gets further arguments, such as a worker's environment", async () => {
  const { verifier } = verifierOf(keyServer(key));
  const handle = guard(
    verifier,
    (_request, principal, env: { name: string }) => new Response(env.name + principal.subject),
  );
  const request = new Request("https://api.example.com", { headers: { authorization: `Bearer ${token}` } });
  assert.equal(await (await handle(request, { name: "worker " })).text(), "worker sa_1");
});
