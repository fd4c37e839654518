/** Tokens whose signature has been verified, so that it is not verified at each request. */

import type { Claims } from "./claims.js";
import type { VerificationKey } from "./key.js";

/** @internal */
export interface Verified {
  readonly claims: Claims;
  readonly key: VerificationKey;
}

/**
 * Keeps what stays true of a token: its signature under one key, and its claims.
 * Whether it is good now is judged anew at each use. The oldest make place.
 */
export class VerifiedCache {
  readonly #most: number;
  // By the text of the token: hashing it first would cost more than it hides,
  // since whoever reads this memory reads the requests too.
  readonly #entries = new Map<string, Verified>();

  constructor(most: number) {
    this.#most = most;
  }

  get(token: string): Verified | undefined {
    return this.#entries.get(token);
  }

  put(token: string, verified: Verified): void {
    if (this.#most === 0) return;
    if (this.#entries.size >= this.#most) this.#entries.delete(this.#entries.keys().next().value as string);
    this.#entries.set(token, verified);
  }

  drop(token: string): void {
    this.#entries.delete(token);
  }
}
