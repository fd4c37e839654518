/** Checks tokens, without a call to Marque for each. */

import { orAbort } from "../abort.js";
import { type Clock, systemClock } from "../clock.js";
import { ConfigurationError, VerificationError } from "../errors.js";
import { type Fetch, platformFetch } from "../http.js";
import { at, checkIssuer } from "../issuer.js";
import { checkDuration, checkTimeout } from "../options.js";
import { VerifiedCache } from "./cache.js";
import { type Claims, checkTimes, type Principal, parseClaims } from "./claims.js";
import { parseJws } from "./jws.js";
import type { VerificationKey } from "./key.js";
import { KeySet } from "./keyset.js";

/**
 * Tells which tokens have been revoked before they expired, as what
 * `client.followRevocations()` gives does. Asked at each verification, so it
 * answers from memory.
 */
export interface Revocations {
  /** Whether the token is revoked. Throws where that is not known. */
  isRevoked(principal: Principal, keyId: string): boolean;
}

/** Options of a verifier; durations are milliseconds. */
export interface VerifierOptions {
  /** The issuer of the tokens: the https URL of the Marque installation. */
  issuer: string;
  /** The identifier of your API, which must be the token's `aud`. May be given to each `verify` instead. */
  audience?: string | undefined;
  /**
   * How far clocks may differ. Default: a token may be dated 10,000 ahead, and
   * has no grace after it expires; what is given here counts for both.
   */
  leeway?: number | undefined;
  /** How many verified tokens are remembered; 0 for none. Default: 1,000. */
  cacheSize?: number | undefined;
  /** For fetching keys. Default: 10,000. */
  timeout?: number | undefined;
  /** Where the keys are. Default: the issuer's `/.well-known/jwks.json`. */
  jwksUri?: string | undefined;
  /** Fetches the keys. Default: the platform's `fetch`. */
  fetch?: Fetch | undefined;
  /** Default: none; a token is good until it expires. */
  revocations?: Revocations | undefined;
  /** For tests: where the time comes from. */
  clock?: Clock | undefined;
}

/** What one verification asks for. */
export interface VerifyOptions {
  /** Default: the verifier's. */
  readonly audience?: string | undefined;
  /** The permissions that the token must have, all of them. */
  readonly scopes?: readonly string[] | undefined;
  /**
   * Whether to accept a token that is bound to a key or a certificate. Say true
   * only where the caller's proof is checked against `confirmation` of the result.
   * Default: false, for such a token is worth nothing as a bearer token.
   */
  readonly allowBound?: boolean | undefined;
  /** Ends the wait for keys, for this verification alone. */
  readonly signal?: AbortSignal | undefined;
}

const TYPE = "at+jwt"; // RFC 9068 section 2.1

/** Verifies access tokens of one issuer. One verifier serves a whole program. */
export class Verifier {
  readonly #issuer: string;
  readonly #audience: string | undefined;
  readonly #ahead: number;
  readonly #behind: number;
  readonly #keys: KeySet;
  readonly #cache: VerifiedCache;
  readonly #revocations: Revocations | undefined;
  readonly #clock: Clock;

  constructor(options: VerifierOptions) {
    this.#issuer = checkIssuer(options.issuer);
    if (options.audience === "")
      throw new ConfigurationError("the audience is empty: it is the identifier of your API");
    this.#audience = options.audience;
    this.#ahead = checkDuration("leeway", options.leeway, 10_000);
    this.#behind = options.leeway ?? 0;
    this.#clock = options.clock ?? systemClock;
    this.#revocations = options.revocations;
    this.#cache = new VerifiedCache(options.cacheSize ?? 1_000);
    this.#keys = new KeySet({
      url: checkIssuer(options.jwksUri ?? at(this.#issuer, "/.well-known/jwks.json")),
      fetch: options.fetch ?? platformFetch,
      timeout: checkTimeout("timeout", options.timeout, 10_000),
      clock: this.#clock,
    });
  }

  /**
   * Verifies a token for an audience.
   *
   * @throws {VerificationError} if it is refused: answer with its status and `wwwAuthenticate`.
   * @throws {KeyFetchError} if the issuer's keys cannot be had: answer 503.
   * @throws {RevocationsStaleError} if it is not known what is revoked: answer 503.
   */
  async verify(token: string, options: VerifyOptions = {}): Promise<Principal> {
    const audience = options.audience ?? this.#audience;
    if (!audience) {
      throw new ConfigurationError("no audience: give the identifier of your API to the verifier or to verify");
    }
    const { claims, key } = await this.#verified(token, options.signal);
    checkTimes(claims, this.#clock.now(), this.#ahead, this.#behind);
    if (!claims.audiences.includes(audience)) {
      throw new VerificationError("audience", "the token is for another audience");
    }
    if (claims.principal.confirmation !== undefined && options.allowBound !== true) {
      // RFC 9449 section 7.2, RFC 8705 section 3.
      throw new VerificationError("type", "the token is bound to a key, and comes without a proof of having that");
    }
    const principal = Object.freeze({ ...claims.principal, audience });
    if (this.#revocations?.isRevoked(principal, key.kid)) {
      throw new VerificationError("revoked", "the token has been revoked");
    }
    const missing = (options.scopes ?? []).filter((scope) => !principal.scopes.includes(scope));
    if (missing.length > 0) {
      throw new VerificationError("scope", `the token lacks ${missing.join(" ")}`, options.scopes);
    }
    return principal;
  }

  /** All that depends on the text of the token and on the keys. */
  async #verified(token: string, signal: AbortSignal | undefined): Promise<{ claims: Claims; key: VerificationKey }> {
    const held = this.#cache.get(token);
    if (held !== undefined) {
      // Still the issuer's key? One that was withdrawn takes its tokens along.
      const { kid } = held.key;
      if ((this.#keys.peek(kid) ?? (await orAbort(this.#keys.find(kid), signal))) === held.key) return held;
      this.#cache.drop(token);
    }
    const { header, payload, signature, signed } = parseJws(token);
    if (header.typ !== TYPE)
      throw new VerificationError("type", `the token is no access token: its typ is not ${TYPE}`);
    const key = this.#keys.peek(header.kid) ?? (await orAbort(this.#keys.find(header.kid), signal));
    if (key === undefined) {
      throw new VerificationError(
        "key_unknown",
        "the token names a key that the issuer does not have: is it of this issuer?",
      );
    }
    // The key decides the algorithm; the header may only agree (RFC 8725 section 3.1).
    if (header.alg !== key.alg)
      throw new VerificationError("algorithm", "the token names an algorithm that is not its key's");
    // The platform verifies on another thread. Meanwhile the payload is read,
    // but nothing is made of it, and no word said about it, before the signature holds.
    const holds = key.verify(signature, signed);
    const claims = readClaims(payload);
    if (!(await holds)) throw new VerificationError("signature", "the token's signature does not verify");
    if (claims instanceof VerificationError) throw claims;
    if (claims.iss !== this.#issuer) throw new VerificationError("issuer", "the token is of another issuer");
    const verified = { claims, key };
    this.#cache.put(token, verified);
    return verified;
  }
}

function readClaims(payload: Uint8Array): Claims | VerificationError {
  try {
    return parseClaims(payload);
  } catch (error) {
    if (error instanceof VerificationError) return error;
    throw error;
  }
}
