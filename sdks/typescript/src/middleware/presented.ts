/** How a request presents a token, and how it is refused: the same for all frameworks. */

import { KeyFetchError, type MarqueError, RevocationsStaleError, VerificationError } from "../errors.js";
import type { Principal } from "../verifier/claims.js";
import type { Verifier } from "../verifier/verifier.js";

/** What is asked of a request. */
export interface ProtectOptions {
  /** The permissions that the token must have, all of them. */
  readonly scopes?: readonly string[] | undefined;
  /** The identifier of the API. Default: the verifier's. */
  readonly audience?: string | undefined;
  /** Is told why a request is refused, which the caller is not. */
  readonly onRefusal?: ((error: MarqueError) => void) | undefined;
}

/** @internal An answer instead of the handler's. */
export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Problem details (RFC 9457). */
  readonly body: string;
}

/**
 * Verifies what the `Authorization` headers of a request hold. Errors that are
 * neither a refusal nor a lack of knowledge of ours are thrown: a mistake of ours
 * must not look like a bad token.
 */
export async function admit(
  verifier: Pick<Verifier, "verify">,
  authorization: readonly string[],
  url: string,
  options: ProtectOptions,
): Promise<Principal | Refusal> {
  const token = presented(authorization, url);
  if (typeof token !== "string") return token;
  try {
    return await verifier.verify(token, { scopes: options.scopes, audience: options.audience });
  } catch (error) {
    if (!(error instanceof VerificationError || isUnknown(error))) throw error;
    options.onRefusal?.(error);
    return refusal(error, options.scopes);
  }
}

/** Tells a refusal from a principal. */
export function isRefusal(outcome: Principal | Refusal): outcome is Refusal {
  return "status" in outcome;
}

/** The one token of a request (RFC 6750 section 2): in the header, once, never in the URL. */
function presented(authorization: readonly string[], url: string): string | Refusal {
  // Frameworks on Headers join several with a comma, which no token has.
  if (authorization.length > 1 || authorization[0]?.includes(",")) {
    return invalid("a request has one Authorization header");
  }
  if (/[?&]access_token(?:=|&|$)/.test(url)) {
    return invalid("a token goes into the Authorization header, never into the URL");
  }
  const token = /^bearer +([^ ]+) *$/i.exec(authorization[0] ?? "")?.[1];
  if (token !== undefined) return token;
  if (/^bearer\b/i.test(authorization[0] ?? "")) return invalid("the Authorization header holds no token after Bearer");
  return problem(401, "unauthenticated", "A token is needed", undefined, { "www-authenticate": "Bearer" });
}

function invalid(detail: string): Refusal {
  return problem(400, "invalid_request", "The request is not valid", detail, {
    "www-authenticate": 'Bearer error="invalid_request"',
  });
}

/** Nothing can be said about the token. */
function isUnknown(error: unknown): error is KeyFetchError | RevocationsStaleError {
  return error instanceof KeyFetchError || error instanceof RevocationsStaleError;
}

function refusal(
  error: VerificationError | KeyFetchError | RevocationsStaleError,
  scopes: readonly string[] | undefined,
): Refusal {
  if (isUnknown(error)) {
    const seconds = Math.max(1, Math.ceil((error.retryAfter ?? 0) / 1000));
    return problem(503, "unavailable", "Tokens cannot be verified right now", undefined, {
      "retry-after": String(seconds),
    });
  }
  const challenge = { "www-authenticate": error.wwwAuthenticate };
  if (error.code === "scope") {
    return problem(403, "insufficient_scope", "A permission is missing", `this needs ${scopes?.join(" ")}`, challenge);
  }
  return problem(401, "invalid_token", "The token is not valid", undefined, challenge);
}

function problem(
  status: number,
  code: string,
  title: string,
  detail: string | undefined,
  headers: Record<string, string>,
): Refusal {
  return {
    status,
    headers: { "content-type": "application/problem+json", "cache-control": "no-store", ...headers },
    body: JSON.stringify({ type: `urn:marque:problem:${code}`, title, status, code, detail }),
  };
}
