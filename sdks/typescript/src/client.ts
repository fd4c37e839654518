/** The client. */

import { authorizedFetch, type FetchOptions } from "./authfetch.js";
import { resolve } from "./chain.js";
import { systemClock } from "./clock.js";
import { Resources } from "./generated/resources.js";
import { type Fetch, platformFetch } from "./http.js";
import { checkDuration, checkRetries, checkTimeout, type MarqueOptions, processEnvironment } from "./options.js";
import { Follower, type FollowerParts, type FollowOptions } from "./revocations/follower.js";
import { Sender } from "./sender.js";
import { type AccessToken, type TokenRequest, TokenSource } from "./tokensource.js";
import { Transport } from "./transport.js";

/**
 * A service account at its Marque. It calls the management API by its resources
 * (`client.serviceAccounts.list()`), and other APIs with its tokens
 * ({@link Marque.fetchFor}). One client serves a whole program: it keeps the tokens.
 */
export class Marque extends Resources {
  /** The https URL of the installation. */
  readonly issuer: string;
  readonly #tokens: TokenSource;
  readonly #fetch: Fetch;
  readonly #timeout: number;
  readonly #defaults: TokenRequest;
  readonly #followerParts: FollowerParts;

  /**
   * @throws {ConfigurationError} naming each source that was tried, if there is
   * no issuer or no credential.
   */
  constructor(options: MarqueOptions = {}) {
    const { issuer, credential } = resolve(options, { environment: options.environment ?? processEnvironment() });
    const { clock = systemClock, fetch = platformFetch, logger, hooks = {} } = options;
    const timeout = checkTimeout("timeout", options.timeout, 30_000);
    const tokenTimeout = checkTimeout("tokenTimeout", options.tokenTimeout, 10_000);
    const retries = checkRetries(options.retries, 2);
    const windows = options.refreshWindows;
    checkDuration("refreshWindows.advisory", windows?.advisory, 0);
    checkDuration("refreshWindows.mandatory", windows?.mandatory, 0);
    const sender = new Sender({ issuer, fetch, clock, timeout, tokenTimeout, hooks, logger });
    const tokens = new TokenSource({ sender, credential, clock, retries, windows, logger });
    const transport = new Transport({ sender, tokens, credential, clock, retries });
    super(transport);
    this.#followerParts = { sender, tokens, transport, clock, timeout, logger };
    this.issuer = issuer;
    this.#tokens = tokens;
    this.#fetch = fetch;
    this.#timeout = timeout;
    this.#defaults = { resource: options.resource, scopes: options.scopes };
  }

  /** A token to call an API with: from memory while it is good, renewed in time. */
  accessToken(request: TokenRequest = {}, options: { signal?: AbortSignal } = {}): Promise<AccessToken> {
    return this.#tokens.get(this.#wanted(request), options.signal);
  }

  /**
   * A `fetch` that signs in to one API: it adds a token for that API to each
   * request, and after a 401 gets a new one and tries once more. It sends the
   * token to the origins of that API and to nobody else.
   */
  fetchFor(options: FetchOptions = {}): Fetch {
    const request = this.#wanted(options);
    return authorizedFetch(this.#tokens, request, options.origins, this.#fetch, this.#timeout);
  }

  /**
   * Begins to follow what is revoked, for verifiers:
   * `new Verifier({ …, revocations: client.followRevocations() })`. The account
   * needs the permission `revocations:read`. Close the follower, or abort its
   * signal, when the verifiers are done: its connection keeps a program alive.
   */
  followRevocations(options: FollowOptions = {}): Follower {
    return new Follower(this.#followerParts, options);
  }

  #wanted(request: TokenRequest): TokenRequest {
    return {
      resource: request.resource ?? this.#defaults.resource,
      scopes: request.scopes ?? this.#defaults.scopes,
    };
  }
}
