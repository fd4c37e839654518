/**
 * Tokens, cached and renewed by one policy:
 *
 * 1. A token is kept for each audience and set of scopes. A fresh one is served
 *    from memory. In its advisory window (its last 120 s, or half of its life) it
 *    is still served, and renewed once in the background, which is not tried
 *    again for 5 s after a failure. In its mandatory window (its last 30 s, or a
 *    quarter) and after it, callers wait for the one renewal, and fail with it.
 * 2. There is one request at a time for each, with a timeout of its own. A caller
 *    who gives up leaves it to the others.
 * 3. Expired tokens and types other than Bearer are refused.
 * 4. A refusal of the client, or of its API key, is final. 5xx and 429 are retried while somebody waits.
 * 5. A 401 drops exactly the token that got it.
 */

import { orAbort } from "./abort.js";
import { ApiKeyCredential } from "./apikey.js";
import type { SignIn } from "./chain.js";
import type { Clock } from "./clock.js";
import { ApiError, AuthenticationError, ConfigurationError, type MarqueError } from "./errors.js";
import { tokensIssue, tokensLogin } from "./generated/operations.js";
import type { Logger } from "./log.js";
import type { Operation } from "./operation.js";
import type { ResponseInfo } from "./reply.js";
import { retryDelay } from "./retry.js";
import { Secret } from "./secret.js";
import type { Prepared, Sender } from "./sender.js";

/** Which token is wanted. */
export interface TokenRequest {
  /** The identifier of the resource server that it is for; the account's default one when absent. */
  readonly resource?: string | undefined;
  /** The permissions to ask for; all that the account's roles give when absent. */
  readonly scopes?: readonly string[] | undefined;
}

/** A token to call an API with. */
export interface AccessToken {
  readonly token: Secret;
  /** How to present it: `Bearer`. */
  readonly type: string;
  readonly expiresAt: Date;
  /** What was granted. */
  readonly scopes: readonly string[];
}

/** When a token is renewed, in milliseconds before it expires. */
export interface RefreshWindows {
  /** From here on it is renewed in the background. */
  readonly advisory: number;
  /** From here on callers wait for a new one. */
  readonly mandatory: number;
}

/** The value of an `Authorization` header. */
export function bearer(token: AccessToken): string {
  return `Bearer ${token.token.reveal()}`;
}

/** @internal */
export interface TokenSourceOptions {
  readonly sender: Sender;
  readonly credential: SignIn | null;
  readonly clock: Clock;
  readonly retries: number;
  readonly windows?: RefreshWindows | undefined;
  readonly logger?: Logger | undefined;
}

/** The characters of a bearer token (RFC 6750 section 2.1): a header error would quote others. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/** More audiences and sets of scopes than one client has use for; the oldest make place. */
const MOST_SLOTS = 1_000;

/** @internal */
export class TokenSource {
  readonly #options: TokenSourceOptions;
  readonly #slots = new Map<string, Slot>();

  constructor(options: TokenSourceOptions) {
    this.#options = options;
  }

  /** A token that is good now. */
  async get(request: TokenRequest, signal?: AbortSignal): Promise<AccessToken> {
    return this.#slot(request).get(signal);
  }

  /** Forgets a token that was refused, unless it has been replaced already. */
  drop(request: TokenRequest, token: AccessToken): void {
    this.#slot(request).drop(token);
  }

  #slot(request: TokenRequest): Slot {
    const scopes = request.scopes === undefined ? [] : [...new Set(request.scopes)].sort();
    const key = JSON.stringify([request.resource ?? null, scopes]);
    let slot = this.#slots.get(key);
    if (slot === undefined) {
      if (this.#slots.size >= MOST_SLOTS) this.#slots.delete(this.#slots.keys().next().value as string);
      slot = new Slot(this.#options, request.resource, scopes);
      this.#slots.set(key, slot);
    }
    return slot;
  }
}

interface Held {
  readonly token: AccessToken;
  /** When each window begins, in milliseconds since 1970. */
  readonly advisory: number;
  readonly mandatory: number;
}

interface Flight {
  readonly landed: Promise<Held>;
  waiters: number;
}

/** After a renewal in the background has failed, it is left alone for so long. */
const BACK_OFF = 5_000;

class Slot {
  readonly #options: TokenSourceOptions;
  readonly #resource: string | undefined;
  readonly #scopes: readonly string[];
  #held: Held | undefined;
  #flight: Flight | undefined;
  #quietUntil = 0;

  constructor(options: TokenSourceOptions, resource: string | undefined, scopes: readonly string[]) {
    this.#options = options;
    this.#resource = resource;
    this.#scopes = scopes;
  }

  async get(signal: AbortSignal | undefined): Promise<AccessToken> {
    const held = this.#held;
    const now = this.#options.clock.now();
    if (held === undefined || now >= held.mandatory) return this.#wait(signal);
    if (now >= held.advisory && now >= this.#quietUntil && this.#flight === undefined) this.#begin();
    return held.token;
  }

  drop(token: AccessToken): void {
    if (this.#held?.token === token) this.#held = undefined;
  }

  async #wait(signal: AbortSignal | undefined): Promise<AccessToken> {
    const flight = this.#flight ?? this.#begin();
    flight.waiters++;
    try {
      return (await orAbort(flight.landed, signal)).token;
    } finally {
      flight.waiters--;
    }
  }

  /** Starts the one request. It belongs to nobody: no caller's signal reaches it. */
  #begin(): Flight {
    const flight: Flight = { waiters: 0, landed: this.#fly(() => flight.waiters > 0) };
    this.#flight = flight;
    flight.landed.then(
      (held) => {
        this.#held = held;
        this.#flight = undefined;
      },
      (error: MarqueError) => {
        this.#quietUntil = this.#options.clock.now() + Math.max(BACK_OFF, error.retryAfter ?? 0);
        this.#flight = undefined;
        this.#options.logger?.warn("marque: no token", { resource: this.#resource, error: error.message });
      },
    );
    return flight;
  }

  async #fly(awaited: () => boolean): Promise<Held> {
    const { sender, credential, clock, retries } = this.#options;
    if (credential === null) {
      throw new ConfigurationError("this call needs a token, and this client was made without a credential");
    }
    const wanted = {
      resource: this.#resource,
      scope: this.#scopes.length > 0 ? this.#scopes.join(" ") : undefined,
    };
    for (let attempt = 1; ; attempt++) {
      try {
        const [operation, prepared] = await this.#request(credential, wanted);
        const began = clock.now();
        const { data, response } = await sender.send<unknown>(operation, prepared, {}, attempt);
        return this.#accept(data, began, response);
      } catch (error) {
        const delay = retryDelay(error, attempt, retries);
        if (delay === undefined || !awaited()) throw explained(error, credential);
        await clock.sleep(delay);
        if (!awaited()) throw explained(error, credential);
      }
    }
  }

  /** The request of one attempt. What is in a file or a vault is asked for anew: it may have been rotated. */
  async #request(credential: SignIn, wanted: object): Promise<[Operation, Prepared]> {
    const { sender } = this.#options;
    if (credential instanceof ApiKeyCredential) {
      const body = { api_key: await credential.key(), ...wanted };
      return [tokensLogin, sender.prepare(tokensLogin, { body })];
    }
    const prepared = sender.prepare(tokensIssue, { body: { grant_type: "client_credentials", ...wanted } });
    await credential.authenticate(prepared);
    return [tokensIssue, prepared];
  }

  /** Reads a token answer. Its life counts from before the request, so that it is never overrated. */
  #accept(data: unknown, began: number, response: ResponseInfo): Held {
    const answer = (typeof data === "object" && data !== null ? data : {}) as Record<string, unknown>;
    const { access_token: token, token_type: type, expires_in: seconds, scope } = answer;
    const { status, requestId } = response;
    const refuse = (what: string) =>
      new AuthenticationError(`the token endpoint answered with ${what}`, { status, requestId });
    if (!(token instanceof Secret) || !TOKEN.test(token.reveal()))
      throw refuse("no access_token that a header can hold");
    if (typeof type !== "string" || type.toLowerCase() !== "bearer") {
      throw refuse("a token of a type that this client cannot present: it knows Bearer only");
    }
    if (typeof seconds !== "number" || !Number.isFinite(seconds)) throw refuse("no expires_in");
    if (seconds <= 0) throw refuse("a token that has expired already: look at the server's clock");
    const life = seconds * 1000;
    const expires = began + life;
    const windows = this.#options.windows;
    return {
      token: Object.freeze({
        token,
        type: "Bearer",
        expiresAt: new Date(expires),
        scopes: typeof scope === "string" ? scope.split(" ").filter(Boolean) : this.#scopes,
      }),
      advisory: expires - (windows?.advisory ?? Math.min(120_000, life / 2)),
      mandatory: expires - (windows?.mandatory ?? Math.min(30_000, life / 4)),
    };
  }
}

/** A refusal of the token endpoint, as an error that says what to do about it. */
function explained(error: unknown, credential: SignIn): unknown {
  if (!(error instanceof ApiError)) return error;
  const [code, who, what] =
    credential instanceof ApiKeyCredential
      ? ["invalid_api_key", "the API key", "it"]
      : ["invalid_client", `client ${credential.clientId}`, "the secret"];
  const fix =
    error.code === code
      ? `: ${who} from ${credential.source} was not accepted. Is ${what} right and not ` +
        "expired, the account active, this address allowed, and the issuer the one that it was made at?"
      : "";
  return new AuthenticationError(`no token: ${error.message}${fix}`, {
    status: error.status,
    code: error.code,
    requestId: error.requestId,
    retryable: error.retryable,
    retryAfter: error.retryAfter,
    cause: error,
  });
}
