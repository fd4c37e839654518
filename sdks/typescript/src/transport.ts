/** Where generated methods meet the runtime. */

import { abortError } from "./abort.js";
import { ApiKeyCredential } from "./apikey.js";
import type { SignIn } from "./chain.js";
import type { Clock } from "./clock.js";
import { ApiError, ConfigurationError } from "./errors.js";
import { tokensIssue } from "./generated/operations.js";
import { MANAGEMENT } from "./issuer.js";
import type { Input, Operation } from "./operation.js";
import { checkRetries } from "./options.js";
import { type PageBody, Pages } from "./page.js";
import { Reply, type WithResponse } from "./reply.js";
import { retryDelay } from "./retry.js";
import type { Prepared, Sender } from "./sender.js";
import { type AccessToken, bearer, type TokenSource } from "./tokensource.js";

/** @internal */
export interface TransportOptions {
  readonly sender: Sender;
  readonly tokens: TokenSource;
  readonly credential: SignIn | null;
  readonly clock: Clock;
  readonly retries: number;
}

/** @internal Makes calls: authenticates, sends, repeats. */
export class Transport {
  readonly #options: TransportOptions;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** One call of an operation, whose answer has at most so many bytes. */
  request<T>(operation: Operation, input: Input = {}, limit?: number): Reply<T> {
    return Reply.from(this.#perform<T>(operation, input, limit));
  }

  /** A list operation, as something to iterate. */
  paginate<T>(operation: Operation, input: Input = {}): Pages<T> {
    return new Pages<T>((token) =>
      this.#perform<PageBody<T>>(
        operation,
        token === undefined ? input : { ...input, query: { ...input.query, page_token: token } },
      ),
    );
  }

  async #perform<T>(operation: Operation, given: Input, limit?: number): Promise<WithResponse<T>> {
    const { sender, tokens, clock } = this.#options;
    const input = withIdempotencyKey(operation, given);
    const signal = input.options?.signal;
    const retries = operation.idempotent ? checkRetries(input.options?.retries, this.#options.retries) : 0;
    let replayed = false;
    for (let attempt = 1; ; ) {
      const prepared = sender.prepare(operation, input);
      let token: AccessToken | undefined;
      if (this.#byToken(operation, prepared)) {
        token = await tokens.get({ resource: MANAGEMENT }, signal);
        prepared.authorization.set("authorization", bearer(token));
      } else if (operation.auth === "client") {
        await this.#authenticate(operation, prepared);
      }
      try {
        return await sender.send<T>(operation, prepared, input, attempt, limit);
      } catch (error) {
        // Refused before anything was done, so it may be sent again whatever it is.
        if (token !== undefined && !replayed && error instanceof ApiError && error.status === 401) {
          tokens.drop({ resource: MANAGEMENT }, token);
          replayed = true;
          continue;
        }
        const delay = retryDelay(error, attempt, retries);
        if (delay === undefined) throw error;
        await clock.sleep(delay, signal).catch((reason: unknown) => {
          throw signal?.aborted ? abortError(signal) : reason;
        });
        attempt++;
      }
    }
  }

  /**
   * Whether the call is made with a token. So are those too that the client
   * itself would sign, where it has an API key: that is good for a token only.
   */
  #byToken(operation: Operation, prepared: Prepared): boolean {
    if (operation.auth !== "client") return operation.auth === "bearer";
    const key = this.#options.credential instanceof ApiKeyCredential;
    return key && operation.id !== tokensIssue.id && !prepared.form?.has("client_id");
  }

  async #authenticate(operation: Operation, prepared: Prepared): Promise<void> {
    // Members of the form that the caller gave are a sign-in already; two are an error.
    if (prepared.form?.has("client_id")) return;
    const { credential } = this.#options;
    if (credential === null) {
      throw new ConfigurationError(`${operation.id} needs a credential, and this client was made without one`);
    }
    if (credential instanceof ApiKeyCredential) {
      throw new ConfigurationError(
        `${operation.id} takes a client id with a client secret, and this client has an API key: ` +
          "call accessToken(), or tokens.login()",
      );
    }
    await credential.authenticate(prepared);
  }
}

/** One key for all attempts of one call, so that the server can tell a repetition from a second call. */
function withIdempotencyKey(operation: Operation, input: Input): Input {
  const random = operation.method === "POST" && operation.idempotent && !operation.oauth;
  const key = input.options?.idempotencyKey ?? (random ? crypto.randomUUID() : undefined);
  return key === undefined ? input : { ...input, headers: { ...input.headers, "Idempotency-Key": key } };
}
