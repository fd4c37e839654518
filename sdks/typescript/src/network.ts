/** What a failed connection means, and what to do about it. */

import { ConnectionError, MarqueError, TlsError } from "./errors.js";

const TRUST =
  "is not signed by an authority that is trusted here: give the authority's certificate " +
  "as caFile to @marque/sdk/node, or in MARQUE_CA_FILE or the profile";

/** By the codes of Node's TLS errors. Browsers and workers tell no reasons. */
const TLS_FIXES: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: TRUST,
  SELF_SIGNED_CERT_IN_CHAIN: TRUST,
  UNABLE_TO_GET_ISSUER_CERT: TRUST,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: TRUST,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: TRUST,
  CERT_SIGNATURE_FAILURE: TRUST,
  CERT_UNTRUSTED: TRUST,
  CERT_HAS_EXPIRED: "has expired: renew it on the server, or set this machine's clock if that is ahead",
  CERT_NOT_YET_VALID: "is not valid yet: set this machine's clock, or the server's that made it",
  ERR_TLS_CERT_ALTNAME_INVALID: "is for another name: the issuer must use a name that is in the certificate",
};

/** The typed error for what `fetch` rejected with. Errors of ours pass through. */
export function networkError(error: unknown, url: string): MarqueError {
  if (error instanceof MarqueError) return error;
  const { origin } = new URL(url);
  const { code, message } = innermost(error);
  const fix = TLS_FIXES[code] ?? (code.startsWith("CERT_") ? TRUST : undefined);
  if (fix !== undefined) return new TlsError(`the certificate of ${origin} ${fix} (${code})`, { cause: error });
  if (code === "EPROTO" || code.startsWith("ERR_SSL_") || code.startsWith("ERR_TLS_")) {
    return new TlsError(`TLS with ${origin} failed: is this the port where Marque listens? (${code})`, {
      cause: error,
    });
  }
  return new ConnectionError(`no connection to ${origin}: ${message}${code === "" ? "" : ` (${code})`}`, {
    cause: error,
  });
}

/** The error at the end of the chain of causes: `fetch` wraps what happened. */
function innermost(error: unknown): { code: string; message: string } {
  let at: unknown = error;
  for (let depth = 0; depth < 5; depth++) {
    // Both address families failed: the first tells enough.
    const inner: unknown =
      at instanceof AggregateError ? at.errors[0] : at instanceof Error ? (at.cause ?? undefined) : undefined;
    if (inner === undefined) break;
    at = inner;
  }
  const code: unknown = typeof at === "object" && at !== null && "code" in at ? at.code : "";
  return { code: typeof code === "string" ? code : "", message: at instanceof Error ? at.message : String(at) };
}
