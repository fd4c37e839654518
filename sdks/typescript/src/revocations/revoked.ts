/** What is revoked and could still be presented. */

import type { Principal } from "../verifier/claims.js";

interface Thing {
  /** Of an account: tokens of a lower one are dead. */
  readonly generation: number;
  /** When it can be forgotten, in milliseconds since 1970. */
  readonly ends: number;
}

const KINDS = ["token", "service_account", "credential", "signing_key"] as const;
type Kind = (typeof KINDS)[number];

const MINUTE = 60_000;

/**
 * @internal Everything in it is forgotten when its time has come, so that it is
 * never larger than what was revoked within the life of a token.
 */
export class RevokedSet {
  readonly #held: Readonly<Record<Kind, Map<string, Thing>>> = {
    token: new Map(),
    service_account: new Map(),
    credential: new Map(),
    signing_key: new Map(),
  };
  readonly #ends = new Map<number, [Kind, string][]>();

  /** Whether a token is dead. */
  stops(principal: Principal, keyId: string): boolean {
    const { token, service_account, credential, signing_key } = this.#held;
    return (
      (principal.generation ?? 0) < (service_account.get(principal.clientId)?.generation ?? 0) ||
      token.has(principal.tokenId) ||
      (principal.credentialId !== undefined && credential.has(principal.credentialId)) ||
      signing_key.has(keyId)
    );
  }

  /** What is revoked stays so: a lower generation or an earlier end than is known changes nothing. */
  #add(kind: Kind, id: string, thing: Thing): void {
    const before = this.#held[kind].get(id);
    const generation = Math.max(thing.generation, before?.generation ?? thing.generation);
    const ends = Math.max(thing.ends, before?.ends ?? thing.ends);
    this.#held[kind].set(id, { generation, ends });
    if (before !== undefined && ends === before.ends) return;
    const minute = Math.floor(ends / MINUTE) + 1;
    const list = this.#ends.get(minute);
    if (list === undefined) this.#ends.set(minute, [[kind, id]]);
    else list.push([kind, id]);
  }

  /** Drops what no token can be stopped by any more. */
  forget(now: number): void {
    for (const [minute, list] of this.#ends) {
      if (minute * MINUTE > now) continue;
      for (const [kind, id] of list) {
        const held = this.#held[kind].get(id);
        if (held !== undefined && held.ends < minute * MINUTE) this.#held[kind].delete(id); // else it was revoked again
      }
      this.#ends.delete(minute);
    }
  }

  get size(): number {
    return KINDS.reduce((sum, kind) => sum + this.#held[kind].size, 0);
  }

  /**
   * Adds what an event tells. False: it is of a kind that this release does not
   * know. Throws where it is not what the contract says.
   */
  addEntry(said: unknown): boolean {
    const entry = object(said);
    const kind = text(entry.kind);
    if (!isKind(kind)) return false;
    const generation = kind === "service_account" ? integer(entry.gen) : 0;
    this.#add(kind, text(entry.id), { generation, ends: time(entry.expires_at) });
    return true;
  }

  /** Adds what a snapshot has, and says for which position it holds. Throws where it is not what the contract says. */
  addSnapshot(said: unknown): string {
    const snapshot = object(said);
    const at = position(snapshot.position);
    for (const one of list(snapshot.service_accounts).map(object)) {
      this.#add("service_account", text(one.id), { generation: integer(one.gen), ends: time(one.expires_at) });
    }
    for (const [kind, things] of [
      ["credential", snapshot.credentials],
      ["signing_key", snapshot.signing_keys],
    ] as const) {
      for (const one of list(things).map(object)) {
        this.#add(kind, text(one.id), { generation: 0, ends: time(one.expires_at) });
      }
    }
    for (const group of list(snapshot.tokens).map(object)) {
      const thing = { generation: 0, ends: time(group.expires_at) };
      for (const id of list(group.ids)) this.#add("token", text(id), thing);
    }
    return at;
  }

  /** Adds what another one holds. */
  addAll(other: RevokedSet): void {
    for (const kind of KINDS) for (const [id, thing] of other.#held[kind]) this.#add(kind, id, thing);
  }
}

function isKind(kind: string): kind is Kind {
  return (KINDS as readonly string[]).includes(kind);
}

/** @internal Where something is not what the contract says. */
export class ShapeError extends Error {}

/** @internal */
export function object(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new ShapeError("not an object");
  return value as Record<string, unknown>;
}

/** @internal A position, held to its form so that it can be compared and sent back. */
export function position(value: unknown): string {
  if (typeof value !== "string" || !/^(?:0|[1-9]\d{0,17})$/.test(value)) throw new ShapeError("not a position");
  return value;
}

/** @internal Whether a position lies before another. They have more digits than a number. */
export function behind(one: string, other: string): boolean {
  return one.length === other.length ? one < other : one.length < other.length;
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new ShapeError("not a list");
  return value;
}

function text(value: unknown): string {
  if (typeof value !== "string" || value === "") throw new ShapeError("not a text");
  return value;
}

function integer(value: unknown): number {
  if (!Number.isSafeInteger(value)) throw new ShapeError("not a whole number");
  return value as number;
}

function time(value: unknown): number {
  const at = Date.parse(text(value));
  if (Number.isNaN(at)) throw new ShapeError("not a time");
  return at;
}
