/** When a failed attempt is repeated, and after how long. */

import { MarqueError, ProtocolError } from "./errors.js";

/** A server that asks for a longer wait than this has its wish passed on to the caller. */
const LONGEST_RETRY_AFTER = 60_000;
const FIRST = 500;
const LONGEST = 8_000;

/**
 * How many milliseconds to wait before the next attempt, or undefined if there
 * is to be none. The wait doubles from 0.5 s to 8 s, less up to a half of it, so
 * that those who failed together do not come back together. A `Retry-After` of
 * up to 60 s is kept to exactly.
 */
export function retryDelay(error: unknown, attempt: number, retries: number): number | undefined {
  if (attempt > retries) return undefined;
  if (!(error instanceof MarqueError) || !error.retryable || error instanceof ProtocolError) return undefined;
  if (error.retryAfter !== undefined && error.retryAfter > 0) {
    return error.retryAfter <= LONGEST_RETRY_AFTER ? error.retryAfter : undefined;
  }
  const wait = Math.min(LONGEST, FIRST * 2 ** (attempt - 1));
  return wait * (1 - Math.random() / 2);
}

/** A `Retry-After` header in milliseconds: seconds or a date (RFC 9110 section 10.2.3). */
export function parseRetryAfter(value: string | null, now: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Statuses after which the same call may succeed. */
export function retryableStatus(status: number): boolean {
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505);
}
