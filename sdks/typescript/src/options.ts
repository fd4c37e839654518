/** What a client may be given. */

import type { ApiKeyCredential } from "./apikey.js";
import type { Clock } from "./clock.js";
import type { Credential, SecretSource } from "./credential.js";
import { ConfigurationError } from "./errors.js";
import type { Fetch } from "./http.js";
import type { Hooks, Logger } from "./log.js";
import type { RefreshWindows } from "./tokensource.js";

/** Options of a client. All have defaults; all durations are milliseconds. */
export interface MarqueOptions {
  /** The https URL of the Marque installation. Default: `MARQUE_ISSUER`. */
  issuer?: string | undefined;
  /** The id of the service account. Default: `MARQUE_CLIENT_ID`. */
  clientId?: string | undefined;
  /** Its secret, or a function that fetches it, called at each use. Default: `MARQUE_CLIENT_SECRET`. */
  clientSecret?: SecretSource | undefined;
  /** An API key, instead of id and secret, or a function that fetches it, called at each use. Default: `MARQUE_API_KEY`. */
  apiKey?: SecretSource | undefined;
  /** Another way to sign in, or null for calls that need none. */
  credential?: Credential | ApiKeyCredential | null | undefined;
  /** The audience of tokens for other APIs, where a call names none. */
  resource?: string | undefined;
  /** The permissions that these tokens ask for, where a call names none. Default: all that the roles give. */
  scopes?: readonly string[] | undefined;
  /** For one attempt. Default: 30,000. */
  timeout?: number | undefined;
  /** For one attempt at the token endpoint. Default: 10,000. */
  tokenTimeout?: number | undefined;
  /** How often a failed attempt of an idempotent operation is repeated. Default: 2. */
  retries?: number | undefined;
  /** When tokens are renewed. Default: the last 120 s (at most half of the life) and 30 s (a quarter). */
  refreshWindows?: RefreshWindows | undefined;
  /** Makes the requests. Default: the platform's `fetch`. */
  fetch?: Fetch | undefined;
  /** Called around each attempt. */
  hooks?: Hooks | undefined;
  /** Gets a record of each attempt. Default: none. */
  logger?: Logger | undefined;
  /** Where the variables are read. Default: `process.env`, where there is one. */
  environment?: Readonly<Record<string, string | undefined>> | undefined;
  /** For tests: where the time comes from. */
  clock?: Clock | undefined;
}

/** The variables of the process, where there are processes. */
export function processEnvironment(): Readonly<Record<string, string | undefined>> {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env ?? {};
}

/** No timer waits longer than this. */
const LONGEST = 2 ** 31 - 1;

/** Refuses a time-out that would never end, or end at once. */
export function checkTimeout(name: string, value: number | undefined, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (value > 0 && value <= LONGEST) return value;
  throw new ConfigurationError(`${name} must be a number of milliseconds above 0, of at most 24 days`);
}

/** Refuses a length of time that is none. */
export function checkDuration(name: string, value: number | undefined, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (value >= 0 && Number.isFinite(value)) return value;
  throw new ConfigurationError(`${name} must be a number of milliseconds, 0 or above`);
}

/** Refuses a number of retries that would never end. */
export function checkRetries(value: number | undefined, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (value >= 0 && Number.isInteger(value)) return value;
  throw new ConfigurationError("retries must be a whole number, 0 or above");
}
