import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import {
  type Follower,
  type FollowOptions,
  guard,
  Marque,
  RevocationsStaleError,
  VerificationError,
  Verifier,
} from "../src/index.js";
import { EventParser, MAX_EVENT } from "../src/revocations/events.js";
import { SECRET } from "./support/client.js";
import { deferred, FakeClock, FakeServer, ISSUER, json, problem, type Sent, settle, token } from "./support/fakes.js";
import { AUDIENCE, JWKS, jwksOf, newKey } from "./support/tokens.js";

const FEED = "/v1/revocations/feed";
const SNAPSHOT = "/v1/revocations/snapshot";
const key = await newKey("key-1");
const ENDS = "2026-11-02T09:45:00Z"; // 15 min after the clock's beginning

function snapshot(position = "10", members: object = {}): Response {
  const lists = { service_accounts: [], credentials: [], signing_keys: [], tokens: [] };
  return json({ position, at: "2026-11-02T09:30:00Z", ...lists, ...members });
}

function event(name: string, data: unknown, position?: string): string {
  const id = position === undefined ? "" : `id: ${position}\n`;
  return `${id}event: ${name}\ndata: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

function hello(position = "10", change: object = {}): string {
  return `retry: 700\n${event("hello", { position, heartbeat: 5, retry: 700, ...change }, position)}`;
}

function beat(position = "10"): string {
  return event("heartbeat", { position }, position);
}

function revoked(position: string, kind: string, id: string, more: object = {}): string {
  return event("revoked", { kind, id, revoked_at: ENDS, expires_at: ENDS, ...more }, position);
}

/** One stream, which the test writes to. */
class Connection {
  readonly sent: Sent;
  readonly response: Response;
  canceled = false;
  #controller!: ReadableStreamDefaultController<Uint8Array>;

  constructor(sent: Sent) {
    this.sent = sent;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      cancel: () => {
        this.canceled = true;
      },
    });
    this.response = new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  get position(): string | null {
    return this.sent.headers.get("last-event-id");
  }

  async say(...pieces: (string | Uint8Array)[]): Promise<void> {
    for (const piece of pieces) {
      this.#controller.enqueue(typeof piece === "string" ? new TextEncoder().encode(piece) : piece);
      await settle();
    }
  }

  async end(): Promise<void> {
    this.#controller.close();
    await settle();
  }

  async cut(): Promise<void> {
    this.#controller.error(new Error("reset by peer"));
    await settle();
  }
}

type Routes = ConstructorParameters<typeof FakeServer>[0];

/** A client, a follower and a verifier. */
class World {
  readonly clock = new FakeClock();
  readonly warned: string[] = [];
  readonly server: FakeServer;
  readonly follower: Follower;
  readonly verifier: Verifier;
  readonly #opened: Connection[] = [];
  #waiting: ((connection: Connection) => void) | undefined;

  constructor(t: TestContext, options: FollowOptions = {}, routes: Routes = {}) {
    this.server = new FakeServer({
      "POST /oauth2/token": [token("t1"), token("t2")],
      [`GET ${JWKS}`]: jwksOf(key),
      [`GET ${SNAPSHOT}`]: snapshot(),
      [`GET ${FEED}`]: this.open,
      ...routes,
    });
    const { fetch } = this.server;
    const logger = { debug: () => {}, warn: (message: string) => void this.warned.push(message) };
    const { clock } = this;
    const account = { clientId: "sa_9", clientSecret: SECRET, environment: {} };
    this.follower = new Marque({ issuer: ISSUER, ...account, fetch, clock, logger }).followRevocations(options);
    this.verifier = new Verifier({ issuer: ISSUER, audience: AUDIENCE, fetch, clock, revocations: this.follower });
    t.after(() => this.follower.close());
  }

  readonly open = (sent: Sent): Response => {
    const connection = new Connection(sent);
    if (this.#waiting) this.#waiting(connection);
    else this.#opened.push(connection);
    this.#waiting = undefined;
    return connection.response;
  };

  /** The next stream that is opened. */
  stream(): Promise<Connection> {
    const ready = this.#opened.shift();
    if (ready) return Promise.resolve(ready);
    const { promise, resolve } = deferred<Connection>();
    this.#waiting = resolve;
    return promise;
  }

  /** What becomes of a token, the same from the signature and from the cache. */
  async verdict(claims: object = {}): Promise<string> {
    const jwt = await key.token(claims);
    const found = new Set<string>();
    for (let i = 0; i < 2; i++) {
      found.add(
        await this.verifier.verify(jwt).then(
          () => "good",
          (error) => (error instanceof VerificationError ? error.code : error.kind),
        ),
      );
    }
    assert.equal(found.size, 1);
    return [...found].join();
  }
}

/** An answer that does not come before the test ends. */
function never(): Promise<Response> {
  return new Promise(() => {});
}

test("a snapshot is followed by deltas", async (t) => {
  const expires_at = ENDS;
  const world = new World(
    t,
    { audience: AUDIENCE },
    {
      [`GET ${SNAPSHOT}`]: snapshot("10", {
        service_accounts: [{ id: "sa_old", gen: 4, expires_at }],
        credentials: [{ id: "sec_old", expires_at }],
        tokens: [{ ids: ["tok_a", "tok_b"], expires_at }],
      }),
    },
  );
  await world.follower.ready();
  const stream = await world.stream();
  assert.equal(stream.position, "10");
  assert.equal(stream.sent.headers.get("accept"), "text/event-stream");
  assert.equal(stream.sent.headers.get("authorization"), "Bearer t1");
  assert.equal(stream.sent.url.searchParams.get("audience"), AUDIENCE);
  assert.equal(world.server.to(SNAPSHOT)[0]?.url.searchParams.get("audience"), AUDIENCE);
  assert.equal(await world.verdict(), "good");
  assert.equal(await world.verdict({ jti: "tok_b" }), "revoked");
  assert.equal(await world.verdict({ client_id: "sa_old", gen: 3 }), "revoked");
  assert.equal(await world.verdict({ cred: "sec_old" }), "revoked");

  await stream.say(hello(), revoked("11", "token", "tok_x"));
  assert.equal(await world.verdict({ jti: "tok_x" }), "revoked");
  await stream.say(revoked("12", "service_account", "sa_1", { gen: 3 }));
  assert.equal(await world.verdict(), "good");
  assert.equal(await world.verdict({ gen: 2 }), "revoked");
  assert.equal(await world.verdict({ gen: undefined }), "revoked");
  await stream.say(revoked("13", "service_account", "sa_1", { gen: 2 }));
  assert.equal(await world.verdict({ gen: 2 }), "revoked");
  await stream.say(revoked("14", "credential", "sec_2"));
  assert.equal(await world.verdict({ cred: "sec_2" }), "revoked");
  assert.equal(await world.verdict(), "good");
  await stream.say(revoked("15", "signing_key", "key-1"));
  assert.equal(await world.verdict(), "revoked");
  const { position, stale, error, revoked: held } = world.follower.state;
  assert.deepEqual([position, stale, error, held], ["15", false, undefined, 8]);
});

test("a stream that is cut is resumed where it was", async (t) => {
  const world = new World(t);
  let stream = await world.stream();
  await stream.say(hello(), beat("12"), revoked("13", "token", "tok_x"));
  await stream.cut();
  stream = await world.stream();
  assert.equal(stream.position, "13");
  world.clock.slept.length = 0;
  await stream.say(hello("13"), beat("13"));
  await stream.end();
  stream = await world.stream();
  assert.equal(stream.position, "13");
  assert.deepEqual(world.clock.slept, [700]);
  assert.equal(world.server.to(SNAPSHOT).length, 1);
  assert.equal(await world.verdict({ jti: "tok_x" }), "revoked");
});

test("a reset is answered with a snapshot", async (t) => {
  const world = new World(t, {}, { [`GET ${SNAPSHOT}`]: [snapshot(), snapshot("9")] });
  let stream = await world.stream();
  await stream.say(hello(), revoked("11", "token", "tok_x"), event("reset", { position: "9" }));
  stream = await world.stream();
  assert.equal(stream.position, "9");
  assert.ok(world.clock.slept.every((wait) => wait === 0));
  assert.equal(await world.verdict({ jti: "tok_x" }), "revoked");
  assert.ok(world.warned.includes("marque: revocations are read anew"));
  const said = { position: "9", heartbeat: 5, retry: 700 };
  await stream.say(event("hello", said) + event("reset", { position: "9" }));
  await world.stream();
  assert.equal(world.server.to(SNAPSHOT).length, 3);
  assert.ok(world.clock.slept.some((wait) => wait > 0));
});

test("without a heartbeat nothing is known", async (t) => {
  const world = new World(t);
  let stream = await world.stream();
  await stream.say(hello(), beat());
  world.clock.advance(29_900);
  assert.equal(await world.verdict(), "good");
  world.clock.advance(100);
  assert.equal(await world.verdict(), "stale");
  await assert.rejects(world.verifier.verify(await key.token()), (error: RevocationsStaleError) => {
    assert.ok(error instanceof RevocationsStaleError);
    assert.deepEqual([error.status, error.retryable, error.retryAfter], [503, true, 5_000]);
    return true;
  });
  await assert.rejects(world.verifier.verify("x"), { code: "malformed" });
  assert.ok(world.follower.state.stale);
  const handler = guard(world.verifier, () => new Response("in"));
  const authorization = `Bearer ${await key.token()}`;
  const answer = await handler(new Request(AUDIENCE, { headers: { authorization } }));
  assert.deepEqual([answer.status, answer.headers.get("retry-after")], [503, "5"]);
  assert.equal(answer.headers.get("www-authenticate"), null);
  // What comes out of the same connection now may have waited in it.
  await stream.say(revoked("11", "token", "tok_x"));
  assert.equal(await world.verdict({ jti: "tok_x" }), "revoked");
  await stream.say(beat("11"));
  assert.equal(await world.verdict(), "stale");
  stream = await world.stream();
  assert.equal(stream.position, "11");
  await stream.say(hello("11"));
  assert.equal(await world.verdict(), "stale");
  await stream.say(beat("11"));
  assert.equal(await world.verdict(), "good");
  assert.equal(world.follower.state.error, undefined);
});

test("a silent stream is given up before it is too late", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const world = new World(t);
  const silent = await world.stream();
  await silent.say(hello());
  t.mock.timers.tick(10_000);
  await silent.say(beat());
  t.mock.timers.tick(14_999);
  await silent.say(": no heartbeat\n\n"); // alive, but cut off from the others
  assert.equal(silent.sent.signal?.aborted, false);
  t.mock.timers.tick(1);
  await settle();
  assert.equal(silent.sent.signal?.aborted, true);
  const stream = await world.stream();
  await stream.say(hello(), beat());
  assert.equal(await world.verdict(), "good");
});

test("a follower may fail open", async (t) => {
  const world = new World(t, { failOpen: true, staleAfter: 10_000 });
  const stream = await world.stream();
  await stream.say(hello(), revoked("11", "token", "tok_x"));
  world.clock.advance(60_000);
  assert.equal(await world.verdict(), "good");
  assert.equal(await world.verdict({ jti: "tok_x" }), "revoked");
  assert.ok(world.follower.state.stale);
});

for (const failOpen of [false, true]) {
  test(`before the first snapshot nothing is known: failOpen ${failOpen}`, async (t) => {
    const late = deferred<Response>();
    const refusal = problem(503, "unavailable", { "retry-after": "20" });
    const world = new World(t, { failOpen }, { [`GET ${SNAPSHOT}`]: [refusal, () => late.promise] });
    await settle();
    assert.equal(await world.verdict(), failOpen ? "good" : "stale");
    assert.deepEqual(world.clock.slept, [20_000]);
    assert.match(world.follower.state.error?.message ?? "", /503 unavailable/);
    await assert.rejects(world.follower.ready({ signal: AbortSignal.abort() }), { kind: "canceled" });
    late.resolve(snapshot());
    await world.follower.ready();
    assert.equal(await world.verdict(), "good");
  });
}

const ENTRY = { kind: "token", id: "tok_x", revoked_at: ENDS, expires_at: ENDS };

for (const [name, said] of Object.entries({
  "no JSON": event("revoked", "{", "11"),
  "no object": event("revoked", "[]", "11"),
  "no id of what": event("revoked", { ...ENTRY, id: undefined }, "11"),
  "no end": event("revoked", { ...ENTRY, expires_at: "soon" }, "11"),
  "no generation": event("revoked", { ...ENTRY, kind: "service_account" }, "11"),
  "no position": event("revoked", ENTRY),
  "a position of letters": event("heartbeat", { position: "1x" }, "1x"),
  "two positions": event("heartbeat", { position: "12" }, "11"),
  "a position behind": event("heartbeat", { position: "9" }, "9"),
  "another beginning": event("hello", { position: "12", heartbeat: 5, retry: 700 }, "12"),
  "a hello without a beat": event("hello", { position: "10", retry: 700 }, "10"),
  "an event without end": `id: 11\nevent: revoked\ndata: ${"x".repeat(MAX_EVENT)}`,
})) {
  test(`what cannot be understood is read anew: ${name}`, async (t) => {
    const world = new World(t, {}, { [`GET ${SNAPSHOT}`]: [snapshot(), snapshot("20")] });
    const stream = await world.stream();
    await stream.say(hello(), said);
    assert.equal((await world.stream()).position, "20");
    assert.equal(stream.canceled, true);
    assert.ok(world.warned.includes("marque: revocations are not followed"));
  });
}

test("nothing counts before the stream has begun", async (t) => {
  const world = new World(t);
  await (await world.stream()).say(beat());
  await world.stream();
  assert.equal(world.server.to(SNAPSHOT).length, 2);
});

for (const [name, body] of Object.entries({
  "a list too few": snapshot("1", { tokens: undefined }),
  "no position": snapshot(""),
  "no number": snapshot("01"),
  "no generation": snapshot("1", { service_accounts: [{ id: "sa_1", expires_at: ENDS }] }),
  "no end": snapshot("1", { credentials: [{ id: "sec_1" }] }),
  "no ids": snapshot("1", { tokens: [{ ids: "tok_1", expires_at: ENDS }] }),
  "of another sort": json([]),
})) {
  test(`a snapshot that is not whole is none: ${name}`, async (t) => {
    const world = new World(t, {}, { [`GET ${SNAPSHOT}`]: [body, never] });
    await settle();
    assert.equal(world.follower.state.error?.name, "ProtocolError");
    assert.equal(await world.verdict(), "stale");
    assert.equal(world.server.to(FEED).length, 0);
  });
}

test("a lacking permission is said", async (t) => {
  const world = new World(t, {}, { [`GET ${SNAPSHOT}`]: [problem(403, "insufficient_scope"), never] });
  await settle();
  assert.equal((world.follower.state.error as { code?: string }).code, "insufficient_scope");
});

test("what is of a later release is passed over", async (t) => {
  const world = new World(t);
  const stream = await world.stream();
  await stream.say(
    hello(),
    event("weather", "rain"),
    revoked("11", "planet", "earth"),
    revoked("12", "token", "tok_x"),
  );
  assert.equal(await world.verdict({ jti: "tok_x" }), "revoked");
  assert.equal(world.follower.state.position, "12");
  assert.deepEqual(world.warned, ["marque: revocations of the kind planet are not known to this release"]);
});

test("events may come in pieces", async (t) => {
  const world = new World(t);
  const stream = await world.stream();
  const text =
    '\ufeff: wëlcome\r\nid: 10\r\nevent: hello\r\ndata: {"position":"10",\r\ndata: "heartbeat":5,"retry":700}\r\n\r\n' +
    `id:11\revent:revoked\rdata:${JSON.stringify(ENTRY)}\r\r`;
  await stream.say(...Array.from(new TextEncoder().encode(text), (byte) => Uint8Array.of(byte)));
  assert.equal(await world.verdict({ jti: "tok_x" }), "revoked");
});

test("a stream that is only comments has no events", () => {
  const parser = new EventParser();
  assert.deepEqual(parser.feed(new TextEncoder().encode(": a\n\n: b\n\nretry: 5\n\n".repeat(10_000))), []);
  assert.equal(parser.retry, 5);
});

test("a stream outlives its token", async (t) => {
  const world = new World(t, { staleAfter: 3_600_000 });
  let stream = await world.stream();
  await stream.say(hello(), beat());
  world.clock.advance(901_000);
  await stream.end();
  stream = await world.stream();
  assert.equal(stream.sent.headers.get("authorization"), "Bearer t2");
  assert.equal(stream.position, "10");
  assert.ok(world.clock.slept.every((wait) => wait === 0));
});

test("a token that is refused is replaced once", async (t) => {
  let first = true;
  const world: World = new World(
    t,
    {},
    {
      [`GET ${FEED}`]: (sent) => {
        if (!first) return world.open(sent);
        first = false;
        return problem(401, "invalid_token");
      },
    },
  );
  assert.equal((await world.stream()).sent.headers.get("authorization"), "Bearer t2");
});

test("what has ended is forgotten", async (t) => {
  const world = new World(t, { staleAfter: 7_200_000 });
  const stream = await world.stream();
  await stream.say(hello(), revoked("11", "token", "tok_x"), revoked("12", "service_account", "sa_x", { gen: 2 }));
  world.clock.advance(890_000);
  const later = { gen: 3, expires_at: "2026-11-02T10:00:00Z" };
  await stream.say(revoked("13", "service_account", "sa_x", later), beat("13"));
  assert.equal(world.follower.state.revoked, 2);
  world.clock.advance(100_000);
  await stream.say(beat("13"));
  assert.equal(world.follower.state.revoked, 1);
  world.clock.advance(900_000);
  await stream.say(beat("13"));
  assert.equal(world.follower.state.revoked, 0);
});

for (const how of ["close", "signal"]) {
  test(`it ends everything: ${how}`, async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] }); // a timer that is left would keep the test from ending
    const controller = new AbortController();
    const world = new World(t, { signal: controller.signal });
    const stream = await world.stream();
    await stream.say(hello(), beat());
    if (how === "close") await world.follower.close();
    else controller.abort();
    await settle();
    assert.equal(stream.canceled, true);
    assert.equal(await world.verdict(), "stale");
    await world.follower.close();
  });
}

test("who waits hears of the close", async (t) => {
  const world = new World(t, {}, { [`GET ${SNAPSHOT}`]: never });
  const waiting = assert.rejects(world.follower.ready(), { kind: "canceled" });
  await settle();
  await world.follower.close();
  await waiting;
});
