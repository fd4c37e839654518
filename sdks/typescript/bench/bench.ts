/** What the SDK costs: a cached token, a verification beside the bare signature check, a cache hit. */

import { Marque, Verifier } from "../src/index.js";
import { parseJws } from "../src/verifier/jws.js";
import { FakeServer, ISSUER, json, token } from "../test/support/fakes.js";
import { type Algorithm, AUDIENCE, keyServer, newKey } from "../test/support/tokens.js";

type Run = () => Promise<unknown>;

/** Nanoseconds for one run, the median of several rounds; several are measured in turns. */
async function measure<const Runs extends Run[]>(count: number, ...runs: Runs): Promise<{ [K in keyof Runs]: number }> {
  const rounds = runs.map(() => [] as number[]);
  for (let round = 0; round < 15; round++) {
    for (const [which, run] of runs.entries()) {
      const began = process.hrtime.bigint();
      for (let i = 0; i < count; i++) await run();
      rounds[which]?.push(Number(process.hrtime.bigint() - began) / count);
    }
  }
  const medians = rounds.map((times) => times.sort((a, b) => a - b)[7] ?? Number.NaN);
  return medians as { [K in keyof Runs]: number };
}

function print(what: string, nanoseconds: number, beside = ""): void {
  console.log(`${what.padEnd(34)} ${(nanoseconds / 1000).toFixed(2).padStart(9)} µs  ${beside}`);
}

const tokens = new FakeServer({ "POST /oauth2/token": token("t1", 86_400) });
const client = new Marque({
  issuer: ISSUER,
  clientId: "sa_1",
  clientSecret: "mqs_x",
  environment: {},
  fetch: tokens.fetch,
});
const [cached] = await measure(50_000, () => client.accessToken());
print("typescript cached token", cached);

/** Knows of 100,000 revocations. */
async function follower(now: number) {
  const expires_at = new Date((now + 3600) * 1000).toISOString();
  const ids = Array.from({ length: 100_000 }, (_, n) => `tok_${n}_`);
  const snapshot = {
    position: "1",
    service_accounts: [{ id: "sa_2", gen: 2, expires_at }],
    credentials: [{ id: "sec_2", expires_at }],
    signing_keys: [{ id: "key-2", expires_at }],
    tokens: [{ ids, expires_at }],
  };
  const server = new FakeServer({
    "POST /oauth2/token": token("t1", 86_400),
    "GET /v1/revocations/snapshot": json(snapshot),
    "GET /v1/revocations/feed": () => new Promise<Response>(() => {}),
  });
  const account = { clientId: "sa_1", clientSecret: "mqs_x", environment: {} };
  const client = new Marque({ issuer: ISSUER, ...account, fetch: server.fetch });
  const following = client.followRevocations({ staleAfter: 86_400_000 });
  await following.ready();
  return following;
}

for (const alg of ["ES256", "EdDSA", "RS256"] satisfies Algorithm[]) {
  const key = await newKey("key-1", alg);
  const now = Math.floor(Date.now() / 1000);
  const jwt = await key.token({ iat: now, nbf: now, exp: now + 900 });
  const { fetch } = keyServer(key);
  const verifier = new Verifier({ issuer: ISSUER, audience: AUDIENCE, cacheSize: 0, fetch });
  await verifier.verify(jwt);
  const { signature, signed } = parseJws(jwt);
  const { kty, crv, x, y, n, e } = key.jwk as JsonWebKey;
  const members = Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined);
  const name = { ES256: "ECDSA", EdDSA: "Ed25519", RS256: "RSASSA-PKCS1-v1_5" }[alg];
  const parameters = { name, namedCurve: "P-256", hash: "SHA-256" };
  const jwk = Object.fromEntries(members) as JsonWebKey;
  const raw = await crypto.subtle.importKey("jwk", jwk, parameters, false, ["verify"]);
  const [bare, whole] = await measure(
    500,
    () => crypto.subtle.verify(parameters, raw, signature, signed),
    () => verifier.verify(jwt),
  );
  const overhead = `${(100 * (whole / bare - 1)).toFixed(0)} % over the bare signature check`;
  print(`typescript ${alg} bare check`, bare);
  print(`typescript ${alg} verification`, whole, overhead);
  if (alg !== "ES256") continue;
  const caching = new Verifier({ issuer: ISSUER, audience: AUDIENCE, fetch });
  const known = await follower(now);
  const following = new Verifier({ issuer: ISSUER, audience: AUDIENCE, fetch, revocations: known });
  const [hit, followed] = await measure(
    50_000,
    () => caching.verify(jwt),
    () => following.verify(jwt),
  );
  print("typescript verified-token hit", hit);
  print("typescript the same, following", followed, `${(followed - hit).toFixed(0)} ns for 100,000 revocations`);
  await known.close();
}
