/** Express, and anything else with `(request, response, next)` on Node. */

import type { Principal } from "../verifier/claims.js";
import type { Verifier } from "../verifier/verifier.js";
import { admit, isRefusal, type ProtectOptions } from "./presented.js";

/** What is used of a request. */
export interface RequestLike {
  readonly url?: string | undefined;
  readonly originalUrl?: string | undefined;
  readonly rawHeaders: readonly string[];
}

/** What is used of a response. */
export interface ResponseLike {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body: string): unknown;
}

const principals = new WeakMap<object, Principal>();

/**
 * Middleware that lets a request through if it presents a token that is good
 * here: `app.get("/invoices", protect(verifier, { scopes: ["invoices:read"] }), handler)`.
 * The handler finds the principal by {@link principalOf}.
 */
export function protect(verifier: Pick<Verifier, "verify">, options: ProtectOptions = {}) {
  return (request: RequestLike, response: ResponseLike, next: (error?: unknown) => void): void => {
    // Of several Authorization headers Node keeps the first: only the raw ones show it.
    const authorization = request.rawHeaders.filter(
      (_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === "authorization",
    );
    admit(verifier, authorization, request.originalUrl ?? request.url ?? "", options).then((outcome) => {
      if (!isRefusal(outcome)) {
        principals.set(request, outcome);
        return next();
      }
      response.statusCode = outcome.status;
      for (const [name, value] of Object.entries(outcome.headers)) response.setHeader(name, value);
      response.end(outcome.body);
    }, next);
  };
}

/** Who sent a request that {@link protect} has let through. Throws for any other: the route is not protected. */
export function principalOf(request: object): Principal {
  const principal = principals.get(request);
  if (principal === undefined) throw new Error("this request did not pass protect(): put it before the handler");
  return principal;
}
