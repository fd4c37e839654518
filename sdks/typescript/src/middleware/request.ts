/** Servers on the fetch API: workers, Deno, Bun, Hono, Next.js. */

import type { Principal } from "../verifier/claims.js";
import type { Verifier } from "../verifier/verifier.js";
import { admit, isRefusal, type ProtectOptions } from "./presented.js";

/**
 * Wraps a handler, so that it runs only for requests with a token that is good
 * here: `export default { fetch: guard(verifier, (request, principal) => …) }`.
 * Further arguments, such as a worker's `env`, are passed on.
 */
export function guard<Rest extends unknown[]>(
  verifier: Pick<Verifier, "verify">,
  handler: (request: Request, principal: Principal, ...rest: Rest) => Response | Promise<Response>,
  options: ProtectOptions = {},
): (request: Request, ...rest: Rest) => Promise<Response> {
  return async (request, ...rest) => {
    const authorization = request.headers.get("authorization");
    const outcome = await admit(verifier, authorization === null ? [] : [authorization], request.url, options);
    if (!isRefusal(outcome)) return handler(request, outcome, ...rest);
    return new Response(outcome.body, { status: outcome.status, headers: outcome.headers });
  };
}
