/** Every error that this package throws. */

import type { ErrorCode } from "./generated/errors.js";
import { redact } from "./secret.js";

/** The sort of an error: what `kind` of a {@link MarqueError} may be. */
export type ErrorKind =
  | "api"
  | "authentication"
  | "connection"
  | "timeout"
  | "tls"
  | "protocol"
  | "configuration"
  | "verification"
  | "key_fetch"
  | "stale"
  | "canceled";

/** @internal What an error may carry. */
export interface ErrorDetails {
  readonly status?: number | undefined;
  readonly code?: string | undefined;
  readonly requestId?: string | undefined;
  readonly retryable?: boolean | undefined;
  /** In milliseconds. */
  readonly retryAfter?: number | undefined;
  readonly cause?: unknown;
}

/** The base of all errors of this package. Its message says what to do. No secret is in it. */
export abstract class MarqueError extends Error {
  abstract readonly kind: ErrorKind;
  /** The HTTP status that goes with it, if any. */
  readonly status: number | undefined;
  /** What went wrong, for a program: the code of the server's error, or our reason. */
  readonly code: string | undefined;
  /** The server's name for the request, to be quoted to whoever operates it. */
  readonly requestId: string | undefined;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** After how many milliseconds to try again, where the server said so. */
  readonly retryAfter: number | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(redact(message), details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.status = details.status;
    this.code = details.code;
    this.requestId = details.requestId;
    this.retryable = details.retryable ?? false;
    this.retryAfter = details.retryAfter;
  }
}

/** A finding on one member of a request. */
export interface FieldError {
  /** A JSON pointer into the body, `?name` for a query parameter, `{name}` for a path parameter, or a header. */
  readonly pointer: string;
  readonly detail: string;
}

/** What uses a thing that was to be deleted or taken away. */
export interface InUse {
  readonly count: number;
  /** The first 20, in the order of their ids. */
  readonly items: readonly InUseItem[];
}

/** One that uses it. */
export interface InUseItem {
  /** What it is, such as `role` or `service_account`. */
  readonly kind: string;
  readonly id: string;
  readonly name: string;
}

/** @internal */
export interface ApiErrorDetails extends ErrorDetails {
  readonly status: number;
  readonly detail?: string | undefined;
  readonly fields?: readonly FieldError[] | undefined;
  readonly permission?: string | undefined;
  readonly inUse?: InUse | undefined;
  readonly issuedId?: string | undefined;
  readonly headers?: Headers | undefined;
  readonly body?: string | undefined;
}

/** The server answered with an error: problem details (RFC 9457) or an OAuth error (RFC 6749 section 5.2). */
export class ApiError extends MarqueError {
  readonly kind = "api";
  declare readonly status: number;
  declare readonly code: ErrorCode | undefined;
  /** What went wrong this time, for a human. */
  readonly detail: string | undefined;
  /** Findings on single members of the request. */
  readonly fields: readonly FieldError[];
  /** With `insufficient_scope`: the permission that is missing. */
  readonly permission: string | undefined;
  /** With `in_use`: by what. */
  readonly inUse: InUse | undefined;
  /** With `secret_already_issued`: the id of what was issued. */
  readonly issuedId: string | undefined;
  readonly #headers: Headers;
  readonly #body: string;

  constructor(message: string, details: ApiErrorDetails) {
    super(message, details);
    this.detail = details.detail === undefined ? undefined : redact(details.detail);
    this.fields = details.fields ?? [];
    this.permission = details.permission;
    this.inUse = details.inUse;
    this.issuedId = details.issuedId;
    this.#headers = details.headers ?? new Headers();
    this.#body = details.body ?? "";
  }

  /** The headers of the answer. */
  get headers(): Headers {
    return this.#headers;
  }

  /** The body as it came. It is somebody else's text: look before you log it. */
  rawBody(): string {
    return this.#body;
  }
}

/** No token could be had: the token endpoint refused, or what it gave is of no use. */
export class AuthenticationError extends MarqueError {
  readonly kind = "authentication";
}

/** No connection, or it was cut before an answer. */
export class ConnectionError extends MarqueError {
  readonly kind = "connection";

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { retryable: true, ...details });
  }
}

/** No answer in time. */
export class TimeoutError extends MarqueError {
  readonly kind = "timeout";

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { retryable: true, ...details });
  }
}

/** The server's certificate is not trusted. */
export class TlsError extends MarqueError {
  readonly kind = "tls";
}

/** The answer is none of Marque's: HTML, truncated, a redirect, too large. */
export class ProtocolError extends MarqueError {
  readonly kind = "protocol";
}

/** What the caller gave cannot work. */
export class ConfigurationError extends MarqueError {
  readonly kind = "configuration";
}

/** The caller gave up: the `AbortSignal` of the call was aborted. */
export class CanceledError extends MarqueError {
  readonly kind = "canceled";

  constructor(cause?: unknown) {
    super("the call was canceled by its signal", { cause });
    this.name = "AbortError"; // what callers of fetch look for
  }
}

/** Why a token is refused. */
export type VerificationReason =
  | "malformed"
  | "signature"
  | "expired"
  | "not_yet_valid"
  | "issuer"
  | "audience"
  | "type"
  | "algorithm"
  | "key_unknown"
  | "revoked"
  | "scope";

/**
 * A token is refused. `code` is the reason, which is for logs: whoever sent the
 * token is told `status` and {@link VerificationError.wwwAuthenticate} and no more.
 */
export class VerificationError extends MarqueError {
  readonly kind = "verification";
  declare readonly status: 401 | 403;
  declare readonly code: VerificationReason;
  /** The challenge to answer with (RFC 6750 section 3). */
  readonly wwwAuthenticate: string;

  constructor(reason: VerificationReason, message: string, scopes: readonly string[] = []) {
    super(message, { code: reason, status: reason === "scope" ? 403 : 401 });
    this.wwwAuthenticate =
      reason === "scope"
        ? `Bearer error="insufficient_scope", scope="${scopes.join(" ")}"`
        : 'Bearer error="invalid_token", error_description="the token is not valid here"';
  }
}

/** The keys could not be had, so nothing is known about the token: answer 503. */
export class KeyFetchError extends MarqueError {
  readonly kind = "key_fetch";
  declare readonly status: 503;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { ...details, status: 503, retryable: true });
  }
}

/** It is not known what has been revoked lately, so nothing can be said about the token: answer 503. */
export class RevocationsStaleError extends MarqueError {
  readonly kind = "stale";
  declare readonly status: 503;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { ...details, status: 503, retryable: true });
  }
}
