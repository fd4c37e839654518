/** What a caller may watch: a logger, and hooks around each attempt. Both are off by default. */

/** Takes log records. `console` is one. No record holds a secret, a token, a query or a body. */
export interface Logger {
  debug(message: string, fields: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields: Readonly<Record<string, unknown>>): void;
}

/** One attempt that is about to be made. */
export interface Attempt {
  /** The operationId, such as `tokens.issue`. */
  readonly operation: string;
  readonly method: string;
  readonly url: string;
  /** From 1. */
  readonly number: number;
  /** What is sent, without the credential, which is added later. May be added to, by `traceparent` say. */
  readonly headers: Headers;
}

/** How an attempt ended: with a status or with an error. */
export interface AttemptResult {
  readonly operation: string;
  readonly method: string;
  readonly url: string;
  readonly number: number;
  readonly status: number | undefined;
  readonly requestId: string | undefined;
  readonly error: Error | undefined;
  readonly milliseconds: number;
}

/** Called around each attempt, those at the token endpoint included. */
export interface Hooks {
  beforeAttempt?(attempt: Attempt): void | Promise<void>;
  afterAttempt?(result: AttemptResult): void | Promise<void>;
}
