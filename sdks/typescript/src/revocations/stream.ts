/** One connection to the feed of revocations: what each of its events means. */

import { type MarqueError, ProtocolError } from "../errors.js";
import type { StreamEvent } from "./events.js";
import { behind, object, position, type RevokedSet, ShapeError } from "./revoked.js";

/** @internal The server does not know the position that was reached any more. */
export class ResetError extends ProtocolError {}

/** @internal A moment by both clocks: one can be set back, and the other stands still while the machine sleeps. */
export interface Moment {
  readonly now: number;
  readonly steady: number;
}

/** @internal What the stream works on. */
export interface Following {
  position: string;
  readonly revoked: RevokedSet;
  /** How things are now. */
  moment(): Moment;
  tooOld(moment: Moment): boolean;
  /** The heartbeats come every so many milliseconds. */
  welcome(heartbeat: number): void;
  /** All up to here is known. */
  beat(moment: Moment): void;
  warn(message: string): void;
}

/** @internal */
export class FeedStream {
  /** Whether it goes on from where it was to go on. */
  welcomed = false;
  /** Whether a heartbeat has come. */
  alive = false;
  readonly #following: Following;
  readonly #sent: string;
  #at: Moment;

  constructor(following: Following) {
    this.#following = following;
    this.#sent = following.position;
    this.#at = following.moment();
  }

  /** Applies one event, or throws what ends the stream. Unless that is silence, everything is to be read anew. */
  take(event: StreamEvent): void {
    if (!["hello", "revoked", "heartbeat", "reset"].includes(event.name)) return; // of a later release
    if (event.name === "reset") throw new ResetError("the server does not know the position that was reached any more");
    try {
      this.#apply(event, object(JSON.parse(event.data)));
    } catch (error) {
      // The error of JSON.parse would quote what may be somebody else's text.
      if (!(error instanceof ShapeError || error instanceof SyntaxError)) throw error;
      throw malformed(`the event ${event.name} is not what the contract says`);
    }
  }

  #apply(event: StreamEvent, said: Record<string, unknown>): void {
    const following = this.#following;
    if (event.name === "hello") {
      const at = position(said.position);
      if (typeof said.heartbeat !== "number" || !(said.heartbeat > 0)) throw new ShapeError("no heartbeat");
      following.welcome(said.heartbeat * 1000);
      // One that announces a reset has no id. Else it repeats what was asked for:
      // another position means that the header was lost on the way, and with it
      // what was revoked in between.
      if (event.id !== "" && (event.id !== this.#sent || at !== this.#sent)) {
        throw malformed(
          "it does not go on from the position that was asked for: is there a proxy that drops Last-Event-ID?",
        );
      }
      this.welcomed = event.id !== "";
      this.#at = following.moment();
      return;
    }
    if (!this.welcomed) throw malformed("it does not begin with hello");
    const at = position(event.id);
    if (event.name === "revoked") {
      if (!following.revoked.addEntry(said)) {
        following.warn(`revocations of the kind ${String(said.kind).slice(0, 32)} are not known to this release`);
      }
      if (behind(following.position, at)) following.position = at;
      return;
    }
    if (said.position !== at || behind(at, following.position)) throw new ShapeError("another position");
    // What comes out of a connection after so long a silence may have waited in
    // it: it does not say how things are now.
    if (following.tooOld(this.#at)) throw silent();
    this.#at = following.moment();
    this.alive = true;
    following.position = at;
    following.beat(this.#at);
  }
}

/** @internal What was to be told is not known. */
export function malformed(why: string): MarqueError {
  return new ProtocolError(`the feed of revocations: ${why}`, { retryable: true });
}

/** @internal What was told is known, but not how things are now. */
export class SilentError extends ProtocolError {}

/** @internal */
export function silent(): MarqueError {
  return new SilentError("the stream of revocations brings no heartbeat", { retryable: true });
}
