/** Client and verifier with what Node has beyond browsers: files and TLS settings. */

import { resolve } from "../chain.js";
import { Marque as Client } from "../client.js";
import { type MarqueOptions, processEnvironment } from "../options.js";
import { Verifier as CoreVerifier, type VerifierOptions } from "../verifier/verifier.js";
import { createFetch, type TlsOptions } from "./fetch.js";
import { profilePath, readProfile, readSecret } from "./files.js";

/** Options of a client on Node. */
export interface NodeMarqueOptions extends MarqueOptions, TlsOptions {
  /** A file with the client secret, read at each use. Default: `MARQUE_CLIENT_SECRET_FILE`. */
  clientSecretFile?: string | undefined;
  /** A file with the API key, read at each use. Default: `MARQUE_API_KEY_FILE`. */
  apiKeyFile?: string | undefined;
  /** The profile to use, before the environment. Default: `MARQUE_PROFILE`, or the file's current one. */
  profile?: string | undefined;
}

/**
 * The client, with all of the credential chain: the constructor, then the
 * environment, then the profile in `$XDG_CONFIG_HOME/marque/config.json`.
 */
export class Marque extends Client {
  constructor(options: NodeMarqueOptions = {}) {
    const environment = options.environment ?? processEnvironment();
    const { issuer, credential, caFile } = resolve(options, {
      environment,
      readSecret,
      profile: (name) => readProfile(profilePath(environment), name),
    });
    super({ ...options, issuer, credential, fetch: options.fetch ?? createFetch({ ...options, caFile }) });
  }
}

/** Options of a verifier on Node. */
export interface NodeVerifierOptions extends Omit<VerifierOptions, "issuer">, TlsOptions {
  /** The issuer of the tokens. Default: `MARQUE_ISSUER`, or that of the profile. */
  issuer?: string | undefined;
  /** The profile to take issuer and CA from, before the environment. Default: `MARQUE_PROFILE`, or the file's current one. */
  profile?: string | undefined;
}

/** The verifier. It finds issuer and CA file as the client does. */
export class Verifier extends CoreVerifier {
  constructor(options: NodeVerifierOptions) {
    const environment = processEnvironment();
    const { issuer, caFile } = resolve(
      { issuer: options.issuer, caFile: options.caFile, profile: options.profile, credential: null },
      { environment, profile: (name) => readProfile(profilePath(environment), name) },
    );
    super({ ...options, issuer, fetch: options.fetch ?? createFetch({ ...options, caFile }) });
  }
}
