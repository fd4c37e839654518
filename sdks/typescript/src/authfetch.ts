/** A `fetch` that presents a token. */

import { abortError, orAbort } from "./abort.js";
import { ConfigurationError, type MarqueError, TimeoutError } from "./errors.js";
import type { Fetch } from "./http.js";
import { networkError } from "./network.js";
import { bearer, type TokenRequest, type TokenSource } from "./tokensource.js";

/** Which API is called. */
export interface FetchOptions extends TokenRequest {
  /**
   * The origins that get the token, such as `https://invoices.example.com`.
   * Default: the origin of `resource`, where that is a URL. A program that takes
   * URLs from elsewhere, as agents do, must not hand its token to any of them.
   */
  readonly origins?: readonly string[] | undefined;
}

/** @internal */
export function authorizedFetch(
  tokens: TokenSource,
  wanted: TokenRequest,
  origins: readonly string[] | undefined,
  fetch: Fetch,
  timeout: number,
): Fetch {
  const allowed = new Set((origins ?? defaultOrigins(wanted.resource)).map(originOf));
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const origin = originOf(url);
    if (!allowed.has(origin)) {
      throw new ConfigurationError(
        `the token for ${wanted.resource ?? "the default resource"} is not sent to ${origin}: ` +
          `it is for ${[...allowed].join(", ") || "no origin"}; list this one in origins if it may have it`,
      );
    }
    if (!confidential(origin)) throw new ConfigurationError(`a token is sent over https only, and ${origin} is http`);
    const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    for (let replayed = false; ; replayed = true) {
      const token = await tokens.get(wanted, signal);
      const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
      headers.set("authorization", bearer(token));
      const response = await send(fetch, input, { ...init, headers }, url, timeout, signal);
      if (response.status !== 401) return response;
      tokens.drop(wanted, token);
      if (replayed || !replayable(input, init)) return response;
      response.body?.cancel().catch(() => {});
    }
  };
}

/** Sends it once. The time-out is for the head of the response: its body may be a long stream. */
async function send(
  fetch: Fetch,
  input: string | URL | Request,
  init: RequestInit,
  url: string,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const controller = new AbortController();
  let stopped: MarqueError | undefined;
  const timer = setTimeout(() => {
    stopped = new TimeoutError(`no answer from ${originOf(url)} within ${timeout} ms`);
    controller.abort(stopped);
  }, timeout);
  // The caller's signal ends the body too, long after this function. Joined like
  // this, it does not remember every request that was ever made with it.
  const either = signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal]);
  try {
    return await orAbort(fetch(input, { ...init, signal: either }), either);
  } catch (error) {
    if (stopped) throw stopped;
    if (signal?.aborted) throw abortError(signal);
    throw networkError(error, url);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether nobody on the way can read along: https, or this very machine. */
function confidential(origin: string): boolean {
  return origin.startsWith("https:") || /^http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/.test(origin);
}

function replayable(input: string | URL | Request, init: RequestInit | undefined): boolean {
  if (init?.body !== undefined && init.body !== null) return !(init.body instanceof ReadableStream);
  return !(input instanceof Request) || input.body === null;
}

function defaultOrigins(resource: string | undefined): string[] {
  return resource !== undefined && /^https:/i.test(resource) ? [resource] : [];
}

function originOf(url: string): string {
  if (!URL.canParse(url)) throw new ConfigurationError("the URL is not absolute: it needs its scheme and host");
  return new URL(url).origin;
}
