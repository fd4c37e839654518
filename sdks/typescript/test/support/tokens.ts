/** Keys and tokens, well-formed or not, with true signatures. */

import { Buffer } from "node:buffer";
import { FakeServer, ISSUER, json } from "./fakes.js";

const { subtle } = globalThis.crypto;
type Jwk = Record<string, unknown>;

export const AUDIENCE = "https://invoices.example.com";
export const JWKS = "/.well-known/jwks.json";

const SUITES = {
  ES256: { generate: { name: "ECDSA", namedCurve: "P-256" }, sign: { name: "ECDSA", hash: "SHA-256" } },
  EdDSA: { generate: { name: "Ed25519" }, sign: { name: "Ed25519" } },
  RS256: {
    generate: {
      name: "RSASSA-PKCS1-v1_5",
      hash: "SHA-256",
      modulusLength: 2048,
      publicExponent: new Uint8Array([1, 0, 1]),
    },
    sign: { name: "RSASSA-PKCS1-v1_5" },
  },
} as const;

export type Algorithm = keyof typeof SUITES;

export function base64url(data: string | Uint8Array): string {
  return Buffer.from(data).toString("base64url");
}

export interface Key {
  readonly kid: string;
  readonly alg: Algorithm;
  readonly jwk: Jwk;
  /** Signs any header and payload. */
  forge(header: string, payload: string | Uint8Array): Promise<string>;
  /** A token as Marque makes it, with changes. */
  token(claims?: object, header?: object): Promise<string>;
}

export async function newKey(kid: string, alg: Algorithm = "ES256"): Promise<Key> {
  const suite = SUITES[alg];
  const pair = (await subtle.generateKey(suite.generate, true, ["sign", "verify"])) as CryptoKeyPair;
  const { kty, crv, x, y, n, e } = await subtle.exportKey("jwk", pair.publicKey);
  const jwk = Object.fromEntries(
    Object.entries({ kid, alg, use: "sig", kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined),
  );
  const forge = async (header: string, payload: string | Uint8Array) => {
    const signed = `${base64url(header)}.${base64url(payload)}`;
    const signature = await subtle.sign(suite.sign, pair.privateKey, Buffer.from(signed));
    return `${signed}.${base64url(new Uint8Array(signature))}`;
  };
  return {
    kid,
    alg,
    jwk,
    forge,
    token: (claims = {}, header = {}) =>
      forge(JSON.stringify({ alg, kid, typ: "at+jwt", ...header }), JSON.stringify({ ...goodClaims(), ...claims })),
  };
}

/** What stands in a token at the time of a new {@link FakeClock}. */
export function goodClaims() {
  const now = Date.parse("2026-11-02T09:30:00Z") / 1000;
  return {
    iss: ISSUER,
    sub: "sa_1",
    client_id: "sa_1",
    aud: AUDIENCE,
    iat: now,
    nbf: now,
    exp: now + 900,
    jti: "tok_1",
    scope: "invoices:read invoices:list",
    roles: ["clerk"],
    gen: 3,
    cred: "sec_1",
  };
}

/** A server with these keys. */
export function keyServer(...keys: Key[]): FakeServer {
  return new FakeServer({ [`GET ${JWKS}`]: jwksOf(...keys) });
}

export function jwksOf(...keys: Key[]): Response {
  return json({ keys: keys.map((key) => key.jwk) }, 200, { "cache-control": "public, max-age=300" });
}
