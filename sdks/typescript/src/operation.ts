/** What generated code says about an operation, and what a caller may say about one call. */

/**
 * One operation of the contract. Generated, one constant each.
 */
export interface Operation {
  /** The operationId, such as `service_accounts.create`. */
  readonly id: string;
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** The path template, such as `/v1/service-accounts/{service_account_id}`. */
  readonly path: string;
  /**
   * `bearer`: with a token for the management API. `client`: the client
   * authenticates itself (the OAuth endpoints). `none`: without sign-in.
   */
  readonly auth: "bearer" | "client" | "none";
  /** Whether doing it twice is doing it once: only then is it repeated after a failure. */
  readonly idempotent: boolean;
  /** The media type of the request body, where there is one. */
  readonly contentType?: "application/json" | "application/merge-patch+json" | "application/x-www-form-urlencoded";
  /** Whether it gives or judges tokens: the shorter time-out. */
  readonly oauth?: boolean;
  /** Where the answer holds secrets: member names joined by dots, `*` for each item of a list. */
  readonly secrets?: readonly string[];
}

/** What a query or header parameter may be. A list is a parameter that repeats. */
export type Parameter = string | number | boolean | readonly (string | number | boolean)[];

/** The arguments of one call, as generated methods gather them. */
export interface Input {
  /** Path parameters by name. */
  readonly path?: Readonly<Record<string, string>>;
  /** Query parameters by wire name; `undefined` is left out. */
  readonly query?: object | undefined;
  /** Header parameters by wire name; `undefined` is left out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** The body as a wire object, of a form its members. Absent members stay absent, null is null. */
  readonly body?: unknown;
  readonly options?: CallOptions | undefined;
}

/** What may be set for one call. */
export interface CallOptions {
  /** Ends the call, its retries and its waits. */
  readonly signal?: AbortSignal;
  /** For one attempt, in milliseconds. Default: the client's. */
  readonly timeout?: number;
  /** How often a failed attempt is repeated, if the operation is idempotent. Default: the client's. */
  readonly retries?: number;
  /**
   * The `Idempotency-Key` of this call. By default each call of an idempotent
   * POST has a random one, the same in all its attempts.
   */
  readonly idempotencyKey?: string;
  /** Further headers. They cannot replace `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
}
