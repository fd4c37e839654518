/** Makes one attempt at an operation: builds the request, sends it, decodes the answer. */

import type { Clock } from "./clock.js";
import { ApiError, ConfigurationError, type FieldError, type InUse, type InUseItem, MarqueError } from "./errors.js";
import { exchange, type Fetch, type HttpAnswer, open, parseJson } from "./http.js";
import { at } from "./issuer.js";
import type { Hooks, Logger } from "./log.js";
import type { Input, Operation } from "./operation.js";
import { checkTimeout } from "./options.js";
import { ResponseInfo, type WithResponse } from "./reply.js";
import { parseRetryAfter, retryableStatus } from "./retry.js";
import { conceal, redact, reveal, revealAll, type Secret } from "./secret.js";

/** @internal A request before it is sent; credentials are added to it. */
export interface Prepared {
  readonly url: string;
  readonly headers: Headers;
  readonly authorization: Headers;
  readonly form: URLSearchParams | undefined;
  readonly json: string | undefined;
}

/** @internal */
export interface SenderOptions {
  readonly issuer: string;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly timeout: number;
  readonly tokenTimeout: number;
  readonly hooks: Hooks;
  readonly logger: Logger | undefined;
}

/** @internal */
export class Sender {
  readonly #options: SenderOptions;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** The request of an operation, without a credential. */
  prepare(operation: Operation, input: Input): Prepared {
    const headers = new Headers(input.options?.headers);
    headers.delete("authorization");
    headers.set("accept", "application/json");
    for (const [name, value] of Object.entries(input.headers ?? {})) {
      if (value !== undefined) headers.set(name, value);
    }
    const isForm = operation.contentType === "application/x-www-form-urlencoded";
    const hasJson = input.body !== undefined && !isForm;
    if (operation.contentType !== undefined && (hasJson || isForm)) headers.set("content-type", operation.contentType);
    return {
      url: place(operation, this.#options.issuer, expand(operation.path, input.path ?? {})) + query(input.query),
      headers,
      authorization: new Headers(),
      form: isForm ? form(input.body) : undefined,
      json: hasJson ? JSON.stringify(revealAll(input.body)) : undefined,
    };
  }

  /** Sends it once. Anything but a 2xx answer with what the contract says is an error. */
  async send<T>(
    operation: Operation,
    prepared: Prepared,
    input: Input,
    number: number,
    limit?: number,
  ): Promise<WithResponse<T>> {
    const { clock, fetch } = this.#options;
    const { url } = prepared;
    const { method } = operation;
    const headers = await this.#headers(operation, prepared, number);
    const usual = operation.oauth ? this.#options.tokenTimeout : this.#options.timeout;
    const timeout = checkTimeout("timeout", input.options?.timeout, usual);
    const began = clock.now();
    let answer: HttpAnswer | undefined;
    let failure: Error | undefined;
    try {
      answer = await exchange(
        fetch,
        { method, url, headers, body: prepared.form?.toString() ?? prepared.json },
        { timeout, signal: input.options?.signal, size: limit },
      );
      return this.#decode<T>(operation, answer, prepared);
    } catch (error) {
      failure = error as Error;
      throw error;
    } finally {
      await this.#report(operation, url, number, answer, failure, clock.now() - began);
    }
  }

  /** Sends it once, for an answer that is read while it comes, until the signal ends it. */
  async open(operation: Operation, prepared: Prepared, number: number, signal: AbortSignal): Promise<Response> {
    const { clock, fetch, timeout } = this.#options;
    const { url } = prepared;
    const headers = await this.#headers(operation, prepared, number);
    const began = clock.now();
    let answer: HttpAnswer | undefined;
    let failure: Error | undefined;
    try {
      const opened = await open(fetch, { method: operation.method, url, headers }, { timeout, signal });
      if (opened instanceof Response) {
        answer = { status: opened.status, headers: opened.headers, text: "" };
        return opened;
      }
      answer = opened;
      throw apiError(answer, clock.now(), spoken(prepared));
    } catch (error) {
      failure = error as Error;
      throw error;
    } finally {
      await this.#report(operation, url, number, answer, failure, clock.now() - began);
    }
  }

  async #headers(operation: Operation, prepared: Prepared, number: number): Promise<Headers> {
    const { url } = prepared;
    const { id, method } = operation;
    await this.#options.hooks.beforeAttempt?.({ operation: id, method, url, number, headers: prepared.headers });
    const headers = new Headers(prepared.headers);
    prepared.authorization.forEach((value, name) => {
      headers.set(name, value);
    });
    return headers;
  }

  #decode<T>(operation: Operation, answer: HttpAnswer, prepared: Prepared): WithResponse<T> {
    if (answer.status < 200 || answer.status > 299) {
      throw apiError(answer, this.#options.clock.now(), spoken(prepared));
    }
    const response = new ResponseInfo(answer.status, answer.headers, answer.text);
    // No body is an answer too, but not where one is announced.
    const empty = answer.status === 204 || (answer.text === "" && !answer.headers.has("content-type"));
    if (empty) return { data: undefined as T, response };
    const data = parseJson(answer, prepared.url);
    if (operation.secrets) conceal(data, operation.secrets);
    return { data: data as T, response };
  }

  async #report(
    operation: Operation,
    url: string,
    number: number,
    answer: HttpAnswer | undefined,
    error: Error | undefined,
    milliseconds: number,
  ): Promise<void> {
    const { hooks, logger } = this.#options;
    const status = answer?.status;
    const requestId = answer?.headers.get("x-request-id") ?? undefined;
    logger?.debug("marque: attempt", {
      operation: operation.id,
      attempt: number,
      status,
      request_id: requestId,
      error: error instanceof MarqueError ? `${error.kind}: ${error.message}` : error?.name,
      milliseconds,
    });
    const { method } = operation;
    await hooks.afterAttempt?.({
      operation: operation.id,
      method,
      url,
      number,
      status,
      requestId,
      error,
      milliseconds,
    });
  }
}

/**
 * Where a path stands. RFC 8414 section 3.1 puts the metadata's path before the
 * path of an issuer that has one; all others come after it.
 */
function place(operation: Operation, issuer: string, path: string): string {
  if (operation.id !== "metadata.get") return at(issuer, path);
  const url = new URL(issuer);
  return url.origin + path + (url.pathname === "/" ? "" : url.pathname);
}

/** Fills a path template. A value that a URL parser would swallow is refused. */
function expand(path: string, parameters: Readonly<Record<string, string>>): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value: unknown = parameters[name];
    if (typeof value !== "string" || value === "" || value === "." || value === "..") {
      throw new ConfigurationError(
        `${name} must be an id, and is ${value === undefined ? "missing" : "empty or dots"}`,
      );
    }
    return encodeURIComponent(value);
  });
}

function query(parameters: object | undefined): string {
  const text = pairs(parameters).toString();
  return text === "" ? "" : `?${text}`;
}

function form(body: unknown): URLSearchParams {
  return pairs(typeof body === "object" && body !== null ? body : undefined);
}

function pairs(parameters: object | undefined): URLSearchParams {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {}) as [string, unknown][]) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null) {
        out.append(name, typeof one === "object" ? reveal(one as Secret) : String(one));
      }
    }
  }
  return out;
}

/** The secrets of a request, which a server may repeat in its answer. */
function spoken({ authorization, form, json }: Prepared): string[] {
  const secrets = ["client_secret", "token"].map((name) => form?.get(name) ?? "");
  if (json !== undefined) secrets.push(text((JSON.parse(json) as { api_key?: unknown } | null)?.api_key) ?? "");
  const [scheme = "", credential = ""] = (authorization.get("authorization") ?? "").split(" ", 2);
  secrets.push(credential);
  if (scheme === "Basic") {
    const [, password = ""] = atob(credential).split(":", 2);
    secrets.push(password, new URLSearchParams(`v=${password}`).get("v") ?? "");
  }
  return secrets.filter((secret) => secret.length >= 4); // less would hide words
}

/** The error that an answer stands for, of either of the two forms that Marque has, or of none. */
function apiError(answer: HttpAnswer, now: number, secrets: readonly string[]): ApiError {
  let body: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(answer.text);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) body = parsed as typeof body;
  } catch {
    // A proxy's error page. The status tells what there is to tell.
  }
  const code = text(body.code) ?? text(body.error);
  const said = text(body.detail) ?? text(body.error_description) ?? text(body.title);
  const detail = said === undefined ? undefined : harmless(said, secrets);
  const requestId = answer.headers.get("x-request-id") ?? text(body.request_id);
  const fields = (Array.isArray(body.errors) ? body.errors.filter(isFieldError) : []).map(({ pointer, detail }) => ({
    pointer: harmless(pointer, secrets),
    detail: harmless(detail, secrets),
  }));
  const findings = fields.map((field) => `; ${field.pointer} ${field.detail}`).join("");
  const named = requestId === undefined ? "" : ` (${requestId})`;
  return new ApiError(`${answer.status} ${code ?? "without a code"}: ${detail ?? "no detail"}${findings}${named}`, {
    status: answer.status,
    code,
    detail,
    requestId,
    fields,
    permission: text(body.permission),
    inUse: inUseOf(body.in_use, secrets),
    issuedId: text(body.id),
    // With this code the first attempt is still running: its answer can be had in a moment.
    retryable: retryableStatus(answer.status) || code === "idempotency_key_in_progress",
    retryAfter: parseRetryAfter(answer.headers.get("retry-after"), now),
    headers: answer.headers,
    body: answer.text,
  });
}

/** A text of the server's for messages and logs: no secret, no line end that would forge a record, no novel. */
function harmless(text: string, secrets: readonly string[]): string {
  return redact(text, secrets)
    .replace(/\p{Cc}+/gu, " ")
    .slice(0, 1_000);
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function isFieldError(value: unknown): value is FieldError {
  if (typeof value !== "object" || value === null) return false;
  const finding = value as Record<string, unknown>;
  return typeof finding.pointer === "string" && typeof finding.detail === "string";
}

function inUseOf(value: unknown, secrets: readonly string[]): InUse | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { count, items } = value as Record<string, unknown>;
  if (typeof count !== "number" || !Array.isArray(items)) return undefined;
  return {
    count,
    items: items.filter(isInUseItem).map(({ kind, id, name }) => ({
      kind: harmless(kind, secrets),
      id: harmless(id, secrets),
      name: harmless(name, secrets),
    })),
  };
}

function isInUseItem(value: unknown): value is InUseItem {
  if (typeof value !== "object" || value === null) return false;
  const item = value as Record<string, unknown>;
  return typeof item.kind === "string" && typeof item.id === "string" && typeof item.name === "string";
}
