/** How a client proves who it is. */

import { ConfigurationError } from "./errors.js";
import { reveal, type Secret } from "./secret.js";

/** A request to an OAuth endpoint, to which a credential adds its proof. */
export interface ClientRequest {
  readonly authorization: Headers;
  readonly form: URLSearchParams | undefined;
}

/**
 * Proves which service account this is. It is asked anew for each request, so
 * that what is in a file or a vault may change while the program runs.
 */
export interface Credential {
  readonly clientId: string;
  /** Where it comes from, in words, for error messages. */
  readonly source: string;
  authenticate(request: ClientRequest): void | Promise<void>;
}

/** A secret, or a function that fetches it, called for each request. */
export type SecretSource = Secret | string | (() => Secret | string | Promise<Secret | string>);

/** A client id and a client secret, sent as HTTP Basic (RFC 6749 section 2.3.1). */
export class ClientSecretCredential implements Credential {
  readonly clientId: string;
  readonly source: string;
  readonly #secret: SecretSource;

  constructor(clientId: string, secret: SecretSource, source = "the constructor") {
    this.clientId = clientId;
    this.source = source;
    this.#secret = secret;
  }

  async authenticate(request: ClientRequest): Promise<void> {
    const given = typeof this.#secret === "function" ? await this.#secret() : this.#secret;
    const secret = reveal(given);
    if (secret === "") throw new ConfigurationError(`the client secret from ${this.source} is empty`);
    // Each half is form-urlencoded before they are joined.
    request.authorization.set("authorization", `Basic ${btoa(`${formEncode(this.clientId)}:${formEncode(secret)}`)}`);
  }
}

function formEncode(text: string): string {
  return new URLSearchParams([["", text]]).toString().slice(1);
}
