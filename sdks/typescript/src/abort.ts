/** Waiting for something with a way out. */

import { CanceledError, type MarqueError, TimeoutError } from "./errors.js";

/** The error for a signal that was aborted: `AbortSignal.timeout` is a deadline, anything else a change of mind. */
export function abortError(signal: AbortSignal): MarqueError {
  const reason: unknown = signal.reason;
  if (reason instanceof Error && reason.name === "TimeoutError") {
    return new TimeoutError("the deadline of the call's signal has passed", { retryable: true });
  }
  return new CanceledError(reason);
}

/** The promise's outcome, or the error of the signal if that comes first. What is waited for goes on. */
export function orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const stop = () => reject(abortError(signal));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
