import assert from "node:assert/strict";
import { test } from "node:test";
import { deferred, FakeServer, json, settle } from "../support/fakes.js";
import { JWKS, jwksOf, keyServer, newKey } from "../support/tokens.js";
import { verdict, verifierOf } from "../support/verifier.js";

const down = json({}, 503);
const [one, two] = await Promise.all([newKey("key-1"), newKey("key-2")]);
const [t1, t2, t3] = await Promise.all([one.token(), two.token(), one.token({}, { kid: "key-3" })]);
const serving = (...answers: ConstructorParameters<typeof FakeServer>[0][string][]) =>
  new FakeServer({ [`GET ${JWKS}`]: answers.flat() });

test("keys are fetched once, by all who verify at once, and kept for their max-age", async () => {
  const server = serving(jwksOf(one));
  const { verifier, clock } = verifierOf(server);
  await Promise.all(Array.from({ length: 50 }, () => verifier.verify(t1)));
  clock.advance(299_000);
  await verifier.verify(t1);
  assert.equal(server.sent.length, 1);
  clock.advance(1_000);
  await verifier.verify(t1);
  assert.equal(server.sent.length, 2);
});

test("no max-age is longer than 10 minutes, and what may not be stored is kept for a second", async () => {
  const long = json({ keys: [one.jwk] }, 200, { "cache-control": "max-age=86400" });
  const server = serving(long);
  const { verifier, clock } = verifierOf(server, { leeway: 86_400_000 });
  await verifier.verify(t1);
  clock.advance(599_999);
  await verifier.verify(t1);
  assert.equal(server.sent.length, 1);
  clock.advance(1);
  await verifier.verify(t1);
  assert.equal(server.sent.length, 2);

  const short = serving(json({ keys: [one.jwk] }, 200, { "cache-control": "no-store" }));
  const other = verifierOf(short);
  await other.verifier.verify(t1);
  await other.verifier.verify(t1);
  assert.equal(short.sent.length, 1);
  other.clock.advance(1_000);
  await other.verifier.verify(t1);
  assert.equal(short.sent.length, 2);
});

test("the time that an answer has spent in caches counts", async () => {
  const aged = json({ keys: [one.jwk] }, 200, { "cache-control": "max-age=300", age: "290" });
  const server = serving(aged);
  const { verifier, clock } = verifierOf(server);
  await verifier.verify(t1);
  clock.advance(10_000);
  await verifier.verify(t1);
  assert.equal(server.sent.length, 2);
});

test("an unknown kid fetches once more, then not for 30 s", async () => {
  const server = serving(jwksOf(one), jwksOf(one, two));
  const { verifier, clock } = verifierOf(server);
  await verifier.verify(t1);
  assert.equal(await verdict(verifier, t2), "accepted", "a key that was published after the fetch");
  assert.equal(server.sent.length, 2);
  for (let i = 0; i < 20; i++) {
    assert.equal(await verdict(verifier, await one.token({}, { kid: `random-${i}` })), "key_unknown");
    clock.advance(1_000);
  }
  assert.equal(server.sent.length, 2);
  clock.advance(10_000);
  assert.equal(await verdict(verifier, t3), "key_unknown");
  assert.equal(server.sent.length, 3);
});

test("an unknown kid on a cold start does not fetch twice", async () => {
  const server = serving(jwksOf(one));
  assert.equal(await verdict(verifierOf(server).verifier, t3), "key_unknown");
  assert.equal(server.sent.length, 1);
});

test("many unknown kids at once make one fetch", async () => {
  const server = serving(jwksOf(one));
  const { verifier } = verifierOf(server);
  await verifier.verify(t1);
  await Promise.all(
    Array.from({ length: 50 }, async (_, i) => verdict(verifier, await one.token({}, { kid: `random-${i}` }))),
  );
  assert.equal(server.sent.length, 2);
});

test("without keys nothing is known: 503, and no fetch for 5 s after a failure", async () => {
  const server = serving(down, jwksOf(one));
  const { verifier, clock } = verifierOf(server);
  await assert.rejects(verifier.verify(t1), { kind: "key_fetch", status: 503, retryable: true, retryAfter: 5_000 });
  clock.advance(4_999);
  await assert.rejects(verifier.verify(t1), { kind: "key_fetch", retryAfter: 1 });
  assert.equal(server.sent.length, 1);
  clock.advance(1);
  await verifier.verify(t1);
});

test("cached keys are served while the issuer is away, and an unknown kid is then not called bad", async () => {
  const server = serving(jwksOf(one), down);
  const { verifier, clock } = verifierOf(server, { leeway: 86_400_000 });
  await verifier.verify(t1);
  clock.advance(3_600_000);
  assert.equal(await verdict(verifier, t1), "accepted");
  assert.equal(await verdict(verifier, await one.token({ jti: "other" })), "accepted");
  await assert.rejects(verifier.verify(t2), { kind: "key_fetch" });
  assert.equal(server.sent.length, 2);
});

test("answers that are no key set are failures, and leave the cached keys in place", async () => {
  const html = new Response("<html>", { headers: { "content-type": "text/html" } });
  const moved = new Response(null, { status: 302, headers: { location: "https://evil.example" } });
  for (const answer of [html, moved, json({}), json([]), new TypeError("fetch failed")]) {
    await assert.rejects(verifierOf(serving(answer)).verifier.verify(t1), { kind: "key_fetch" });
    const { verifier, clock } = verifierOf(serving(jwksOf(one), answer));
    await verifier.verify(t1);
    clock.advance(300_000);
    assert.equal(await verdict(verifier, t1), "accepted");
  }
});

test("a key that is removed from the set takes along what was verified with it", async () => {
  const { verifier, clock } = verifierOf(serving(jwksOf(one), jwksOf(two)));
  await verifier.verify(t1);
  clock.advance(300_000);
  assert.equal(await verdict(verifier, t1), "key_unknown");
});

test("another key under the same kid is another key", async () => {
  const impostor = await newKey("key-1");
  const { verifier, clock } = verifierOf(serving(jwksOf(one), jwksOf(impostor)));
  await verifier.verify(t1);
  clock.advance(300_000);
  assert.equal(await verdict(verifier, t1), "signature");
  assert.equal(await verdict(verifier, await impostor.token()), "accepted");
});

test("of a kid that stands in a set twice neither key is taken", async () => {
  const { verifier } = verifierOf(keyServer(one, await newKey("key-1"), two));
  assert.equal(await verdict(verifier, t1), "key_unknown");
  assert.equal(await verdict(verifier, t2), "accepted");
});

test("a known key waits for a slow issuer one second, and is then served as it is", async (t) => {
  const slow = deferred<Response>();
  const server = serving(jwksOf(one), async () => (await slow.promise).clone());
  const { verifier, clock } = verifierOf(server);
  await verifier.verify(t1);
  clock.advance(300_000);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let outcome = "waiting";
  const pending = verdict(verifier, t1).then((reason) => {
    outcome = reason;
  });
  await settle();
  assert.equal(outcome, "waiting");
  t.mock.timers.tick(1_000);
  await pending;
  assert.equal(outcome, "accepted");
  slow.resolve(jwksOf(two));
  await settle();
  assert.equal(await verdict(verifier, t1), "key_unknown");
});

test("a verification that is canceled while it waits for keys fails alone", async () => {
  const slow = deferred<Response>();
  const server = serving(() => slow.promise);
  const { verifier } = verifierOf(server);
  const controller = new AbortController();
  const leader = verifier.verify(t1, { signal: controller.signal });
  const peer = verifier.verify(t1);
  controller.abort();
  await assert.rejects(leader, { kind: "canceled" });
  slow.resolve(jwksOf(one));
  await peer;
  assert.equal(server.sent.length, 1);
});
