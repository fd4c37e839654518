/**
 * Sign in to Marque, call its API, call other APIs with its tokens, and protect
 * an API of your own. For browsers, workers and servers; on Node,
 * `@marque/sdk/node` has the same with files: CA, client certificate, profiles.
 */

export { ApiKeyCredential } from "./apikey.js";
export type { FetchOptions } from "./authfetch.js";
export { Marque } from "./client.js";
export type { Clock } from "./clock.js";
export { type ClientRequest, ClientSecretCredential, type Credential, type SecretSource } from "./credential.js";
export {
  ApiError,
  AuthenticationError,
  CanceledError,
  ConfigurationError,
  ConnectionError,
  type ErrorKind,
  type FieldError,
  type InUse,
  type InUseItem,
  KeyFetchError,
  MarqueError,
  ProtocolError,
  RevocationsStaleError,
  TimeoutError,
  TlsError,
  VerificationError,
  type VerificationReason,
} from "./errors.js";
export * from "./generated/index.js";
export type { Fetch } from "./http.js";
export type { Attempt, AttemptResult, Hooks, Logger } from "./log.js";
export { principalOf, protect, type RequestLike, type ResponseLike } from "./middleware/express.js";
export type { ProtectOptions } from "./middleware/presented.js";
export { guard } from "./middleware/request.js";
export type { CallOptions } from "./operation.js";
export type { MarqueOptions } from "./options.js";
export type { Page, Pages } from "./page.js";
export type { Reply, ResponseInfo, WithResponse } from "./reply.js";
export type { Follower, FollowerState, FollowOptions } from "./revocations/follower.js";
export { Secret } from "./secret.js";
export type { AccessToken, RefreshWindows, TokenRequest } from "./tokensource.js";
export type { Principal } from "./verifier/claims.js";
export { type Revocations, Verifier, type VerifierOptions, type VerifyOptions } from "./verifier/verifier.js";
export { VERSION } from "./version.js";
