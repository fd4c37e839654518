/**
 * Follows what is revoked:
 *
 * - It takes a snapshot, then follows the feed from the snapshot's position, and
 *   resumes from the position of the last event when the stream ends.
 * - `reset`, and any event that cannot be understood, lead to another snapshot.
 *   What was known to be revoked before stays so: a node that is behind another
 *   one revives nothing.
 * - Only a heartbeat says that what is known is up to date, and for the beginning
 *   the first snapshot. After `staleAfter` without one, nothing is known any more.
 * - A stream that has brought no heartbeat for half of that time is given up, for
 *   another one.
 * - A stream that ends with its token is opened again at once, with another token;
 *   after any other good end when the server said so; after a failure within
 *   0.5 s, then 1 s, up to 8 s.
 */

import { orAbort } from "../abort.js";
import type { Clock } from "../clock.js";
import { ApiError, CanceledError, MarqueError, ProtocolError, RevocationsStaleError } from "../errors.js";
import { revocationsFeed, revocationsSnapshot } from "../generated/operations.js";
import { MANAGEMENT } from "../issuer.js";
import type { Logger } from "../log.js";
import { checkTimeout } from "../options.js";
import type { Sender } from "../sender.js";
import { type AccessToken, bearer, type TokenSource } from "../tokensource.js";
import type { Transport } from "../transport.js";
import type { Principal } from "../verifier/claims.js";
import type { Revocations } from "../verifier/verifier.js";
import { EventParser } from "./events.js";
import { RevokedSet, ShapeError } from "./revoked.js";
import { FeedStream, type Following, type Moment, malformed, ResetError, SilentError, silent } from "./stream.js";

/** Options of a follower; durations are milliseconds. */
export interface FollowOptions {
  /**
   * The identifier of the only API whose tokens are verified: tokens that are
   * revoked and known to be for others are then not told of. Default: all.
   */
  readonly audience?: string | undefined;
  /** For how long what is known counts without a heartbeat. Default: 30,000. */
  readonly staleAfter?: number | undefined;
  /**
   * Whether tokens are accepted while what is known is stale: a stop then takes
   * effect only when the server can be reached again. Default: false, and tokens
   * are refused for that time with a {@link RevocationsStaleError}, which is a 503.
   */
  readonly failOpen?: boolean | undefined;
  /** Ends the following, as {@link Follower.close} does. */
  readonly signal?: AbortSignal | undefined;
}

/** How well a follower is doing, for a health check. */
export interface FollowerState {
  /** In the order of all changes; undefined before the first snapshot. */
  readonly position: string | undefined;
  /** When it was last known to be up to date. */
  readonly heardAt: Date | undefined;
  readonly stale: boolean;
  /** How many revocations are held. */
  readonly revoked: number;
  /** Why it is not connected, or was not accepted; undefined when all is well. */
  readonly error: Error | undefined;
}

/** @internal */
export interface FollowerParts {
  readonly sender: Sender;
  readonly tokens: TokenSource;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly timeout: number;
  readonly logger: Logger | undefined;
}

const FIRST = 500;
const LONGEST = 8_000;
const LONGEST_RETRY_AFTER = 60_000;
const SNAPSHOT_SIZE = 64 << 20; // room for two million tokens
const RETRY_AFTER = 5_000;

/**
 * Knows what is revoked. Get it from {@link Marque.followRevocations} and give it
 * to any number of verifiers as `revocations`. A token that is stopped is refused
 * within a second, and no verification makes a call. It is stale before the first
 * snapshot has come, after `staleAfter` without a heartbeat, and when it is closed.
 */
export class Follower implements Revocations {
  readonly #parts: FollowerParts;
  readonly #query: { audience: string | undefined };
  readonly #staleAfter: number;
  readonly #failOpen: boolean;
  readonly #controller = new AbortController();
  readonly #done: Promise<void>;
  readonly #ready: Promise<void>;
  #becomeReady: () => void = () => {};
  #revoked: RevokedSet | undefined;
  #position: string | undefined;
  #heard: Moment | undefined;
  #anew = true;
  #heartbeat = 0;
  #failures = 0;
  #failure: Error | undefined;

  /** @internal Get one from {@link Marque.followRevocations}. */
  constructor(parts: FollowerParts, options: FollowOptions = {}) {
    this.#parts = parts;
    this.#query = { audience: options.audience };
    this.#staleAfter = checkTimeout("staleAfter", options.staleAfter, 30_000);
    this.#failOpen = options.failOpen ?? false;
    this.#ready = new Promise((resolve) => {
      this.#becomeReady = resolve;
    });
    const { signal } = options;
    const stop = () => this.#controller.abort(signal?.reason);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    this.#done = this.#run().finally(() => signal?.removeEventListener("abort", stop));
  }

  /** Whether a token is revoked. Throws {@link RevocationsStaleError} where that is not known. */
  isRevoked(principal: Principal, keyId: string): boolean {
    if (this.#revoked?.stops(principal, keyId)) return true;
    if (!this.#failOpen && this.#stale()) {
      throw new RevocationsStaleError("it is not known what has been revoked lately", {
        cause: this.#failure,
        retryAfter: RETRY_AFTER,
      });
    }
    return false;
  }

  /** Waits until it is known what is revoked. Rejects when the signal is aborted, or the follower closed. */
  async ready(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    const closed = this.#done.then(() => {
      throw new CanceledError("the follower of revocations is closed");
    });
    closed.catch(() => {});
    await orAbort(Promise.race([this.#ready, closed]), options.signal);
  }

  /** How well it goes. */
  get state(): FollowerState {
    return {
      position: this.#position,
      heardAt: this.#heard && new Date(this.#heard.now),
      stale: this.#stale(),
      revoked: this.#revoked?.size ?? 0,
      error: this.#failure,
    };
  }

  /** Ends it and its connection. */
  async close(): Promise<void> {
    this.#controller.abort();
    await this.#done;
  }

  #stale(): boolean {
    return this.#heard === undefined || this.#controller.signal.aborted || this.#tooOld(this.#heard);
  }

  #moment(): Moment {
    return { now: this.#parts.clock.now(), steady: performance.now() };
  }

  #tooOld(then: Moment): boolean {
    const { now, steady } = this.#moment();
    return Math.max(now - then.now, steady - then.steady) >= this.#staleAfter;
  }

  /** For so long without a heartbeat a stream is kept. */
  get #silence(): number {
    return Math.max(this.#staleAfter / 2, 2 * this.#heartbeat);
  }

  async #run(): Promise<void> {
    const { signal } = this.#controller;
    while (!signal.aborted) {
      let wait: number;
      try {
        wait = await this.#round(signal);
      } catch (error) {
        if (signal.aborted) return;
        wait = this.#failed(error instanceof Error ? error : new Error(String(error)));
      }
      await this.#parts.clock.sleep(wait, signal).catch(() => {});
    }
  }

  /** After how long to try again. */
  #failed(error: Error): number {
    const { logger } = this.#parts;
    if (error instanceof ResetError && this.#failures === 0) {
      this.#failures = 1; // the next one in a row waits
      logger?.warn("marque: revocations are read anew", { error: error.message });
      return 0;
    }
    this.#failures++;
    this.#failure = error;
    const limit = Math.min(LONGEST, FIRST * 2 ** Math.min(this.#failures - 1, 10));
    const asked = error instanceof MarqueError ? (error.retryAfter ?? 0) : 0;
    const wait = Math.max(limit * Math.random(), Math.min(asked, LONGEST_RETRY_AFTER));
    const fields = { error: error.message, position: this.#position, failures: this.#failures, milliseconds: wait };
    logger?.warn("marque: revocations are not followed", fields);
    return wait;
  }

  async #round(signal: AbortSignal): Promise<number> {
    if (this.#anew) await this.#takeSnapshot(signal);
    const parser = new EventParser();
    const stream = new FeedStream(this.#following());
    // A connection may be dead without a word, and a node may be cut off from the
    // others: there is time to find another one before what is known is stale.
    const controller = new AbortController();
    const stop = () => controller.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const watch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => controller.abort(silent()), this.#silence);
    };
    watch();
    let token: AccessToken;
    try {
      const opened = await this.#open(controller.signal);
      token = opened.token;
      await this.#listen(opened.response, stream, parser, controller.signal, watch);
    } catch (error) {
      const { reason } = controller.signal;
      throw reason instanceof MarqueError ? reason : error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      controller.abort(); // whatever is left of it
    }
    if (signal.aborted) return 0;
    // It has ended with its token, and there is another one.
    if (stream.welcomed && this.#parts.clock.now() >= token.expiresAt.getTime()) return 0;
    const wait = Math.min(parser.retry ?? 0, LONGEST_RETRY_AFTER);
    if (!stream.alive) return Math.max(wait, this.#failed(new ProtocolError("the server has ended the stream")));
    this.#parts.logger?.debug("marque: the stream of revocations has ended", { milliseconds: wait });
    return wait;
  }

  async #takeSnapshot(signal: AbortSignal): Promise<void> {
    const asked = this.#moment();
    const options = { retries: 0, signal };
    const input = { query: this.#query, options };
    const said: unknown = await this.#parts.transport.request(revocationsSnapshot, input, SNAPSHOT_SIZE);
    const set = new RevokedSet();
    try {
      this.#position = set.addSnapshot(said);
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      throw new ProtocolError("the snapshot of revocations is not what the contract says", { retryable: true });
    }
    const first = this.#revoked === undefined;
    if (this.#revoked !== undefined) set.addAll(this.#revoked);
    set.forget(asked.now);
    this.#revoked = set;
    this.#anew = false;
    // A later one is no heartbeat: the node that gave it may have missed what others know.
    if (first) {
      this.#heard = asked;
      this.#becomeReady();
    }
  }

  /** Opens a stream; a token that is refused is replaced once. */
  async #open(signal: AbortSignal): Promise<{ response: Response; token: AccessToken }> {
    const { sender, tokens } = this.#parts;
    const headers = { "Last-Event-ID": this.#position, Accept: "text/event-stream" };
    for (let attempt = 1; ; attempt++) {
      const prepared = sender.prepare(revocationsFeed, { query: this.#query, headers });
      const token = await tokens.get({ resource: MANAGEMENT }, signal);
      prepared.authorization.set("authorization", bearer(token));
      try {
        const response = await sender.open(revocationsFeed, prepared, attempt, signal);
        if (/^text\/event-stream\s*(?:;|$)/i.test(response.headers.get("content-type") ?? ""))
          return { response, token };
        response.body?.cancel().catch(() => {});
        throw new ProtocolError("the answer is no stream of events: is there a proxy in between?", { retryable: true });
      } catch (error) {
        if (attempt > 1 || !(error instanceof ApiError) || error.status !== 401) throw error;
        tokens.drop({ resource: MANAGEMENT }, token);
      }
    }
  }

  async #listen(
    response: Response,
    stream: FeedStream,
    parser: EventParser,
    signal: AbortSignal,
    watch: () => void,
  ): Promise<void> {
    const reader = response.body?.getReader();
    try {
      for (;;) {
        const heard = this.#heard;
        const heartbeat = this.#heartbeat;
        const { done, value } = (await (reader && orAbort(reader.read(), signal))) ?? { done: true };
        if (done) break;
        try {
          for (const event of parser.feed(value as Uint8Array)) stream.take(event);
        } catch (error) {
          this.#anew = !(error instanceof SilentError);
          throw error;
        }
        if (this.#heard !== heard || this.#heartbeat !== heartbeat) watch();
      }
    } catch (error) {
      if (error instanceof MarqueError) throw error;
      throw new ProtocolError("the stream of revocations was cut off", { cause: error, retryable: true });
    } finally {
      reader?.cancel().catch(() => {});
    }
    if (!stream.welcomed) throw malformed("it ends before hello");
  }

  /** What a stream may do to this. */
  #following(): Following {
    const follower = this;
    return {
      get position() {
        return follower.#position as string;
      },
      set position(position: string) {
        follower.#position = position;
      },
      get revoked() {
        return follower.#revoked as RevokedSet;
      },
      moment: () => this.#moment(),
      tooOld: (moment) => this.#tooOld(moment),
      welcome: (heartbeat) => {
        this.#heartbeat = heartbeat;
      },
      beat: (moment) => {
        this.#heard = moment;
        this.#failures = 0;
        this.#failure = undefined;
        this.#revoked?.forget(moment.now);
      },
      warn: (message) => this.#parts.logger?.warn(`marque: ${message}`, { position: this.#position }),
    };
  }
}
