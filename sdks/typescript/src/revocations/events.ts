/** A stream of server-sent events (WHATWG HTML, section 9.2.6), from bytes as they come. */

import { ProtocolError } from "../errors.js";

/** Far more than any event of Marque has, in characters. */
export const MAX_EVENT = 65_536;

/** @internal */
export interface StreamEvent {
  /** Empty where the event has none of its own. */
  readonly id: string;
  readonly name: string;
  readonly data: string;
}

/** @internal Takes bytes in pieces of any size; lines may end in any of the three ways. */
export class EventParser {
  /** After how many milliseconds to come back, as last said. */
  retry: number | undefined;
  readonly #decoder = new TextDecoder(); // which drops the byte order mark
  #pending = "";
  #afterCr = false;
  #size = 0;
  #id = "";
  #name = "";
  #data: string[] | undefined;

  /** The events that are whole by now. */
  feed(chunk: Uint8Array): StreamEvent[] {
    this.#pending += this.#decoder.decode(chunk, { stream: true });
    const events: StreamEvent[] = [];
    for (;;) {
      if (this.#afterCr && this.#pending !== "") {
        this.#afterCr = false;
        if (this.#pending.startsWith("\n")) this.#pending = this.#pending.slice(1);
      }
      const end = this.#pending.search(/[\r\n]/);
      if (end < 0) break;
      const line = this.#pending.slice(0, end);
      this.#afterCr = this.#pending[end] === "\r";
      this.#pending = this.#pending.slice(end + 1);
      this.#grow(line.length);
      const event = this.#line(line);
      if (event !== undefined) events.push(event);
    }
    if (this.#size + this.#pending.length > MAX_EVENT) this.#grow(MAX_EVENT);
    return events;
  }

  #grow(by: number): void {
    this.#size += by;
    if (this.#size > MAX_EVENT) throw new ProtocolError("an event is longer than any of Marque's");
  }

  #line(line: string): StreamEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data = [...(this.#data ?? []), value];
    else if (field === "id") this.#id = value;
    else if (field === "retry" && /^\d{1,9}$/.test(value)) this.retry = Number(value);
    return undefined;
  }

  #dispatch(): StreamEvent | undefined {
    const event = { id: this.#id, name: this.#name, data: this.#data?.join("\n") ?? "" };
    const something = this.#data !== undefined || this.#name !== "";
    this.#id = this.#name = "";
    this.#data = undefined;
    this.#size = 0;
    return something ? event : undefined;
  }
}
