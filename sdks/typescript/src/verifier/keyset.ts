/**
 * The issuer's public keys, cached:
 *
 * - for the answer's max-age, at most 10 minutes; then whoever asks waits for new
 *   ones, but at most a second where the key is known from before;
 * - a kid that is not among them fetches once more, at most every 30 s, so that
 *   random kids are no way to flood the issuer;
 * - after a failure nothing is fetched for 5 s, and the cached keys go on being served;
 * - a key that has been removed from the set is no longer known.
 */

import { type Clock, systemClock } from "../clock.js";
import { KeyFetchError, ProtocolError } from "../errors.js";
import { exchange, type Fetch, parseJson } from "../http.js";
import { importKey, type VerificationKey } from "./key.js";

const LONGEST_AGE = 600_000;
const DEFAULT_AGE = 300_000;
const SHORTEST_AGE = 1_000;
const UNKNOWN_COOLDOWN = 30_000;
const FAILURE_COOLDOWN = 5_000;
const STALE_WAIT = 1_000;

/** @internal */
export interface KeySetOptions {
  readonly url: string;
  readonly fetch: Fetch;
  readonly timeout: number;
  readonly clock?: Clock | undefined;
}

type Keys = ReadonlyMap<string, VerificationKey>;

/** @internal */
export class KeySet {
  readonly #options: KeySetOptions;
  readonly #clock: Clock;
  #keys: Keys | undefined;
  #freshUntil = 0;
  #quietUntil = 0;
  #unknownUntil = 0;
  #failure: unknown;
  #flight: Promise<void> | undefined;
  /** How long those wait for the fetch in flight who could do without. */
  #patience: Promise<void> | undefined;

  constructor(options: KeySetOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** The key from memory, if nothing needs to be fetched to be sure of it. */
  peek(kid: string): VerificationKey | undefined {
    return this.#clock.now() < this.#freshUntil ? this.#keys?.get(kid) : undefined;
  }

  /** The key, or undefined if the issuer has none of this id. */
  async find(kid: string): Promise<VerificationKey | undefined> {
    const began = this.#clock.now();
    const before = this.#keys;
    if (began >= this.#freshUntil) {
      const fetched = this.#fetchOnce(began);
      // A verification is not held up by a slow issuer if its key is known.
      await (before?.has(kid) ? Promise.race([fetched, this.#patience]) : fetched);
    }
    let key = this.#keys?.get(kid);
    if (key !== undefined) return key;
    if (this.#keys === before) {
      if (began >= this.#unknownUntil && began >= this.#quietUntil) {
        this.#unknownUntil = began + UNKNOWN_COOLDOWN;
        this.#fetchOnce(began);
      }
      await this.#flight;
      key = this.#keys?.get(kid);
      if (key !== undefined) return key;
    }
    // Where the last fetch failed, the key may exist and this cannot be known.
    if (this.#failure !== undefined) {
      throw new KeyFetchError(`the issuer's keys cannot be had: ${message(this.#failure)}`, {
        cause: this.#failure,
        retryAfter: Math.max(0, this.#quietUntil - this.#clock.now()),
      });
    }
    return undefined;
  }

  /** Joins the fetch in flight or starts one. It settles always, and well. */
  #fetchOnce(now: number): Promise<void> {
    if (this.#flight !== undefined) return this.#flight;
    if (now < this.#quietUntil) return Promise.resolve();
    this.#flight = this.#fetch().finally(() => {
      this.#flight = undefined;
    });
    this.#patience = pause(STALE_WAIT);
    return this.#flight;
  }

  async #fetch(): Promise<void> {
    const { url, fetch, timeout } = this.#options;
    try {
      const headers = new Headers({ accept: "application/jwk-set+json, application/json" });
      const answer = await exchange(fetch, { method: "GET", url, headers }, { timeout });
      if (answer.status !== 200) throw new ProtocolError(`${url} answered with status ${answer.status}`);
      this.#keys = await importAll(parseJson(answer, url), this.#keys);
      this.#freshUntil = this.#clock.now() + age(answer.headers);
      this.#quietUntil = 0;
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error;
      this.#quietUntil = this.#clock.now() + FAILURE_COOLDOWN;
    }
  }
}

/** The usable keys of a set. Of a kid that stands there twice neither key is taken. */
async function importAll(set: unknown, before: Keys | undefined): Promise<Keys> {
  const list: unknown = typeof set === "object" && set !== null && "keys" in set ? set.keys : undefined;
  if (!Array.isArray(list)) throw new ProtocolError("the answer is no set of keys: is the issuer right?");
  const keys = new Map<string, VerificationKey>();
  const twice = new Set<string>();
  for (const key of await Promise.all(list.map(importKey))) {
    if (key === undefined) continue;
    if (keys.has(key.kid)) twice.add(key.kid);
    // The same key stays the same object: what was verified with it stays verified.
    const old = before?.get(key.kid);
    keys.set(key.kid, old?.fingerprint === key.fingerprint ? old : key);
  }
  for (const kid of twice) keys.delete(kid);
  return keys;
}

/** For how many milliseconds the answer is fresh (RFC 9111 section 4.2). */
function age(headers: Headers): number {
  const control = headers.get("cache-control") ?? "";
  if (/\bno-(?:store|cache)\b/i.test(control)) return SHORTEST_AGE;
  const seconds = /\bmax-age\s*=\s*"?(\d{1,9})/i.exec(control)?.[1];
  if (seconds === undefined) return DEFAULT_AGE;
  const spent = Number(headers.get("age")) || 0;
  return Math.min(LONGEST_AGE, Math.max(SHORTEST_AGE, (Number(seconds) - spent) * 1000));
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    const timer: unknown = setTimeout(resolve, milliseconds);
    (timer as { unref?: () => void }).unref?.();
  });
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
