/** A clock that stands still, and a fetch that answers by a script. */

import assert from "node:assert/strict";
import type { Clock, Fetch } from "../../src/index.js";

/** Moves when it is told to, or when somebody sleeps, who then wakes at once. */
export class FakeClock implements Clock {
  at = Date.parse("2026-11-02T09:30:00Z");
  readonly slept: number[] = [];

  now(): number {
    return this.at;
  }

  advance(milliseconds: number): void {
    this.at += milliseconds;
  }

  async sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.slept.push(milliseconds);
    this.at += milliseconds;
  }
}

export interface Sent {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: string;
  readonly signal: AbortSignal | null | undefined;
}

type Answer = Response | Error | ((sent: Sent) => Response | Promise<Response>);

/** Answers each route (`GET /v1/whoami`) with its answers in turn, the last one for ever. */
export class FakeServer {
  readonly sent: Sent[] = [];
  readonly #routes: Record<string, Answer[]>;

  constructor(routes: Record<string, Answer | Answer[]>) {
    this.#routes = Object.fromEntries(Object.entries(routes).map(([route, answers]) => [route, [answers].flat()]));
  }

  readonly fetch: Fetch = async (input, init) => {
    assert.ok(!(input instanceof Request));
    const sent: Sent = {
      method: init?.method ?? "GET",
      url: new URL(input),
      headers: new Headers(init?.headers),
      body: typeof init?.body === "string" ? init.body : "",
      signal: init?.signal,
    };
    this.sent.push(sent);
    const answers = this.#routes[`${sent.method} ${sent.url.pathname}`];
    assert.ok(answers, `nobody told what ${sent.method} ${sent.url.pathname} answers`);
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer instanceof Error) throw answer;
    if (typeof answer === "function") return answer(sent);
    return (answer as Response).clone();
  };

  /** What was sent to a path. */
  to(path: string): Sent[] {
    return this.sent.filter((sent) => sent.url.pathname === path);
  }
}

export const ISSUER = "https://auth.example.com";

export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } });
}

export function problem(status: number, code: string, headers: Record<string, string> = {}): Response {
  const body = { type: `urn:marque:problem:${code}`, title: "a title", status, code, request_id: "req_1" };
  return json(body, status, { "content-type": "application/problem+json", "x-request-id": "req_1", ...headers });
}

/** The answer of a token endpoint. */
export function token(text: string, seconds = 900, more: object = {}): Response {
  return json({ access_token: text, token_type: "Bearer", expires_in: seconds, scope: "a b", ...more });
}

/** A promise that is settled from outside. */
export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Lets everything run that is ready to. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}
