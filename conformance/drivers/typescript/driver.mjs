// The driver of the TypeScript SDK: does what the runner says with the SDK's
// public API, and says what came of it. See conformance/README.md.

import { createInterface } from "node:readline";
import { inspect } from "node:util";
import { guard, Marque, MarqueError, Secret, VERSION, Verifier } from "../../../sdks/typescript/dist/node/index.js";

const made = new Map(); // clients and verifiers, by name
const followers = new Map(); // of verifiers, by the name of the verifier
const started = new Map(); // what runs in the background: {outcome, controller}
const variables = new Set(); // of the environment, to be unset
const clocks = new Set();
let slept = [];
let underway = 0; // attempts on the wire, some of them in the background

class FakeClock {
  constructor(at) {
    this.at = at * 1000;
    clocks.add(this);
  }
  now() {
    return this.at;
  }
  async sleep(milliseconds, signal) {
    signal?.throwIfAborted();
    this.at += milliseconds;
    slept.push(milliseconds / 1000);
  }
}

const hooks = { beforeAttempt: () => void underway++, afterAttempt: () => void underway-- };

// Only what is given is passed on, so that the SDK's defaults are judged.
const given = (members) => Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
const milliseconds = (seconds) => (seconds === undefined ? undefined : seconds * 1000);
const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

function printed(value) {
  const forms = [inspect(value, { depth: null }), inspect(value, { depth: null, showHidden: true }), String(value)];
  for (let at = value; at instanceof Error; at = at.cause) forms.push(at.stack, inspect(at, { depth: null }));
  return [...forms, JSON.stringify(value)].join("\n");
}

function revealed(value) {
  if (value instanceof Secret) return value.reveal();
  if (Array.isArray(value)) return value.map(revealed);
  if (typeof value !== "object" || value === null) return value ?? null;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, revealed(member)]));
}

function create(request) {
  for (const [name, value] of Object.entries(request.environment ?? {})) {
    process.env[name] = value;
    variables.add(name);
  }
  const clock = request.clock && new FakeClock(request.clock.at);
  const shared = { issuer: request.issuer, caFile: request.ca_file, timeout: milliseconds(request.timeout), clock };
  if (request.kind === "verifier") {
    const { audience, leeway, revoked, follow } = request;
    let revocations = revoked && { isRevoked: ({ tokenId }) => revoked.includes(tokenId) };
    if (follow) {
      const { stale_after, fail_open: failOpen } = follow;
      const options = given({ audience: follow.audience, staleAfter: milliseconds(stale_after), failOpen });
      revocations = made.get(follow.client).followRevocations(options);
      followers.set(request.as, revocations);
    }
    return new Verifier(given({ ...shared, audience, leeway: milliseconds(leeway), revocations }));
  }
  const { credentials = {}, refresh_windows: windows, resource, scopes, retries } = request;
  return new Marque(
    given({
      ...shared,
      clientId: credentials.client_id,
      clientSecret: credentials.client_secret,
      clientSecretFile: credentials.client_secret_file,
      apiKey: credentials.api_key,
      apiKeyFile: credentials.api_key_file,
      resource,
      scopes,
      retries,
      tokenTimeout: milliseconds(request.token_timeout),
      refreshWindows: windows && { advisory: windows.advisory * 1000, mandatory: windows.mandatory * 1000 },
      hooks,
    }),
  );
}

/** Calls a method by its operationId: path parameters, then the query or the body if it takes one, then options. */
function invoke({ on, operation, path = [], query, headers = {}, body, options = {} }, signal) {
  const [resource, name] = operation.split(".").map(camel);
  const owner = made.get(on)[resource];
  const { timeout, retries, idempotency_key: idempotencyKey, headers: extra } = options;
  const last = {
    timeout: milliseconds(timeout),
    retries,
    idempotencyKey,
    headers: extra,
    ifMatch: headers["If-Match"],
    signal,
  };
  const middle = owner[name].length - path.length === 2 ? [query ?? body] : [];
  return owner[name](...path, ...middle, given(last));
}

/** A list is called by its first page. */
async function result(returned) {
  if (returned instanceof Promise) return returned.withResponse();
  const { items, nextPageToken: next_page_token, response } = await returned.first();
  return { data: given({ items, next_page_token }), response };
}

const operations = {
  hello: () => ({ sdk: "typescript", version: VERSION, protocol: 1 }),
  new(request) {
    made.set(request.as, create(request));
    return { text: printed(made.get(request.as)) };
  },
  async call(request, signal) {
    const { data, response } = await result(invoke(request, signal));
    const { status, requestId: request_id, etag } = response;
    return given({ value: revealed(data), status, request_id, etag, text: printed([data, response]) });
  },
  async iterate(request, signal) {
    const items = [];
    let pages = 0;
    walk: for await (const page of invoke(request, signal).pages()) {
      pages++;
      for (const item of page.items) if (items.push(revealed(item)) === request.limit) break walk;
    }
    return { items, pages };
  },
  async token({ on, resource, scopes }, signal) {
    const token = await made.get(on).accessToken(given({ resource, scopes }), given({ signal }));
    const expires_at = token.expiresAt.getTime() / 1000;
    return { access_token: token.token.reveal(), token_type: token.type, expires_at, text: printed(token) };
  },
  async fetch({ on, method, url, headers, body, replayable = true }, signal) {
    const call = made.get(on).fetchFor({ origins: [new URL(url).origin] });
    const sent = body === undefined || replayable ? { body } : { body: new Blob([body]).stream(), duplex: "half" };
    return described(await call(url, given({ method, headers, ...sent, signal })));
  },
  async verify({ on, token, audience, scopes }, signal) {
    const principal = await made.get(on).verify(token, given({ audience, scopes, signal }));
    const { subject, clientId: client_id, roles, confirmation, claims } = principal;
    const expires_at = principal.expiresAt.getTime() / 1000;
    return given({ subject, client_id, scopes: principal.scopes, roles, expires_at, confirmation, claims });
  },
  following({ on }) {
    const { position, stale, revoked, error } = followers.get(on).state;
    return given({ position, stale, revoked, error: error && String(error) });
  },
  async protect({ on, scopes, request: { method, path, headers } }) {
    const handle = guard(made.get(on), (_, principal) => new Response(principal.subject), given({ scopes }));
    return described(await handle(new Request(new URL(path, "https://api.example.com"), given({ method, headers }))));
  },
  async parallel({ run, count = 2 }, signal) {
    return { answers: await Promise.all(Array.from({ length: count }, () => perform(run, signal))) };
  },
  start({ as, run }) {
    const controller = new AbortController();
    started.set(as, { controller, outcome: perform(run, controller.signal) });
    return {};
  },
  cancel({ on }) {
    started.get(on).controller.abort();
    return {};
  },
  advance({ seconds }) {
    for (const clock of clocks) clock.at += seconds * 1000;
    return {};
  },
  async close() {
    for (const { controller } of started.values()) controller.abort();
    await Promise.all([...followers.values()].map((follower) => follower.close()));
    await Promise.all([...started.values()].map(({ outcome }) => outcome));
    while (underway > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const name of variables) delete process.env[name];
    for (const kept of [made, followers, started, variables, clocks]) kept.clear();
    return {};
  },
};

async function described(response) {
  return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
}

async function perform(request, signal) {
  if (request.op === "await") return started.get(request.on).outcome;
  try {
    return { ok: await operations[request.op](request, signal) };
  } catch (error) {
    if (!(error instanceof MarqueError)) return { fault: inspect(error) };
    const {
      kind,
      code,
      status,
      requestId: request_id,
      issuedId: issued_id,
      retryable,
      retryAfter,
      inUse: in_use,
    } = error;
    const retry_after = retryAfter === undefined ? undefined : retryAfter / 1000;
    return {
      err: given({ kind, code, status, request_id, issued_id, retryable, retry_after, in_use, text: printed(error) }),
    };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const outcome = await perform(request);
  const answer = { id: request.id, ...outcome, ...(slept.length > 0 ? { slept } : {}) };
  slept = [];
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
