/** One HTTP request and its answer, held to what an answer of Marque can be. */

import { abortError, orAbort } from "./abort.js";
import { type MarqueError, ProtocolError, TimeoutError } from "./errors.js";
import { networkError } from "./network.js";

/** The `fetch` that is used: the platform's, or one of the caller's. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** The platform's `fetch`, looked up at each use, since frameworks replace it. */
export const platformFetch: Fetch = (input, init) => globalThis.fetch(input, init);

/** No answer of Marque is longer, in bytes. */
export const MAX_BODY = 1 << 20;

/** @internal */
export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly body?: string | undefined;
}

/** @internal */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** @internal */
export interface Limits {
  /** For everything up to the last byte of the answer, in milliseconds. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
  /** Of the answer, in bytes. Default: {@link MAX_BODY}. */
  readonly size?: number | undefined;
}

/**
 * Sends one request and reads its answer, whatever its status. It follows no
 * redirect: credentials go where the caller said and nowhere else.
 */
export async function exchange(fetch: Fetch, request: HttpRequest, limits: Limits): Promise<HttpAnswer> {
  const { signal } = limits;
  if (signal?.aborted) throw abortError(signal);
  const controller = new AbortController();
  let stopped: MarqueError | undefined;
  // A fetch of the caller's may not heed its signal: the race below does.
  let stop: (error: MarqueError) => void = () => {};
  const ended = new Promise<never>((_, reject) => {
    stop = (error) => {
      stopped = error;
      reject(error);
      controller.abort(error);
    };
  });
  ended.catch(() => {});
  const timer = setTimeout(
    () => stop(new TimeoutError(`no answer from ${host(request.url)} within ${limits.timeout} ms`)),
    limits.timeout,
  );
  const onAbort = () => signal && stop(abortError(signal));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const sent = fetch(request.url, init(request, controller.signal));
    const response = await Promise.race([sent, ended]);
    refuseRedirect(request, response);
    return {
      status: response.status,
      headers: response.headers,
      text: await Promise.race([readText(response, request.url, limits.size ?? MAX_BODY), ended]),
    };
  } catch (error) {
    if (stopped) throw stopped;
    throw networkError(error, request.url);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Sends one request whose answer is read while it comes. Anything but a success is read here. */
export async function open(fetch: Fetch, request: HttpRequest, limits: Required<Pick<Limits, "timeout" | "signal">>) {
  const { signal } = limits;
  try {
    const sent = fetch(request.url, init(request, signal));
    // Who comes too late is sent away: there may be nobody to read it any more.
    sent.then(
      (late) => {
        if (signal?.aborted) late.body?.cancel().catch(() => {});
      },
      () => {},
    );
    const response = await orAbort(sent, signal);
    refuseRedirect(request, response);
    if (response.ok) return response;
    const text = await orAbort(readText(response, request.url, MAX_BODY), signal);
    return { status: response.status, headers: response.headers, text };
  } catch (error) {
    throw networkError(error, request.url);
  }
}

function init(request: HttpRequest, signal: AbortSignal | undefined): RequestInit {
  return {
    method: request.method,
    headers: request.headers,
    body: request.body ?? null,
    redirect: "manual",
    // Some workers have no cookies and no cache, and refuse to be told so.
    ...("credentials" in Request.prototype ? { credentials: "omit" as const } : {}),
    ...("cache" in Request.prototype ? { cache: "no-store" as const } : {}),
    ...(signal === undefined ? {} : { signal }),
  };
}

function refuseRedirect(request: HttpRequest, response: Response): void {
  const redirected = response.status >= 300 && response.status < 400 && response.status !== 304;
  if (!redirected && response.type !== "opaqueredirect") return;
  response.body?.cancel().catch(() => {});
  const target = response.headers.get("location");
  let where = "";
  if (target !== null && URL.canParse(target, request.url)) {
    const url = new URL(target, request.url);
    where = ` to ${url.origin}${url.pathname}`;
  }
  throw new ProtocolError(
    `${host(request.url)} redirects${where}, and redirects are not followed: ` +
      "set the issuer to the URL that Marque itself has, without a proxy that redirects",
    { status: response.status || undefined },
  );
}

async function readText(response: Response, url: string, limit: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = response.body?.getReader();
  try {
    while (reader) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.byteLength;
      if (size > limit) {
        reader.cancel().catch(() => {});
        throw new ProtocolError(`the answer of ${host(url)} is larger than ${limit} bytes: is this Marque?`);
      }
      chunks.push(value);
    }
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError(`the answer of ${host(url)} was cut off after ${size} bytes`, { cause: error });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(join(chunks, size));
  } catch {
    throw new ProtocolError(`the answer of ${host(url)} is not text in UTF-8: is this Marque?`);
  }
}

function join(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const [first] = chunks;
  if (first !== undefined && chunks.length === 1) return first;
  const all = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.byteLength;
  }
  return all;
}

/**
 * The JSON of an answer. The error of `JSON.parse` quotes the text, which may
 * hold a token: it is not passed on.
 */
export function parseJson(answer: HttpAnswer, url: string): unknown {
  const type = answer.headers.get("content-type") ?? "";
  if (!/^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type)) {
    throw new ProtocolError(
      `${host(url)} answered with ${type.split(";", 1)[0] || "no content type"} instead of JSON: ` +
        "the issuer is not the URL of Marque, or a proxy or a sign-in page stands in front of it",
      { status: answer.status },
    );
  }
  try {
    return JSON.parse(answer.text);
  } catch {
    throw new ProtocolError(`the answer of ${host(url)} is not whole: its JSON does not parse`, {
      status: answer.status,
    });
  }
}

function host(url: string): string {
  return new URL(url).origin;
}
