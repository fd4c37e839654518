/** The issuer: the one URL that everything else is derived from. */

import { ConfigurationError } from "./errors.js";

/** The audience of tokens for Marque's own API. */
export const MANAGEMENT = "urn:marque:management";

/** Checks an issuer and gives it back as it is: it is compared byte for byte. */
export function checkIssuer(issuer: string): string {
  if (!URL.canParse(issuer)) {
    throw new ConfigurationError(
      `the issuer ${JSON.stringify(issuer)} is not a URL: it looks like https://auth.example.com`,
    );
  }
  const url = new URL(issuer);
  if (url.protocol !== "https:") {
    throw new ConfigurationError(
      `the issuer ${url.protocol}//${url.host} must be an https URL: Marque speaks TLS only`,
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new ConfigurationError(`the issuer of ${url.host} must have no user, query or fragment`);
  }
  return issuer;
}

/** The URL of a path at the issuer. */
export function at(issuer: string, path: string): string {
  return issuer.replace(/\/+$/, "") + path;
}
