/** Signs in by an API key: no client id is needed, for the server knows whose the key is. */

import type { SecretSource } from "./credential.js";
import { ConfigurationError } from "./errors.js";
import { reveal, Secret } from "./secret.js";

/** An API key. It is good for one thing, to get a token: calls carry that. */
export class ApiKeyCredential {
  /** Where it comes from, in words, for error messages. */
  readonly source: string;
  readonly #key: SecretSource;

  /**
   * A function is called for each request, so that what it fetches may change.
   * @throws {ConfigurationError} if what is given cannot be an API key.
   */
  constructor(key: SecretSource, source = "the constructor") {
    this.source = source;
    this.#key = typeof key === "function" ? key : checked(key, source);
  }

  /** The key as it is now. */
  async key(): Promise<Secret> {
    return checked(typeof this.#key === "function" ? await this.#key() : this.#key, this.source);
  }
}

/** Refuses what cannot be right before it is sent anywhere. No part of it is repeated. */
function checked(given: Secret | string, source: string): Secret {
  const text = reveal(given).trim();
  const fault = faultOf(text);
  if (fault !== undefined) throw new ConfigurationError(`the API key from ${source} ${fault}`);
  return new Secret(text);
}

const PREFIX = "mqk_";
const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECKSUM = 6;

/** A prefix, 43 characters of base62, and a CRC-32 of all that as 6 more. */
const FORM = /^mqk_[0-9A-Za-z]{49}$/;

/** What makes a text no API key. */
function faultOf(text: string): string | undefined {
  if (text === "") return "is empty";
  if (text.startsWith("mqs_")) return "is a client secret: give it as clientSecret, together with a clientId";
  if (!text.startsWith(PREFIX)) return `does not begin with ${PREFIX}`;
  if (FORM.test(text) && checksum(text.slice(0, -CHECKSUM)) === text.slice(-CHECKSUM)) return undefined;
  return "is cut off or mistyped: its checksum does not fit. Copy it once more, whole";
}

function checksum(body: string): string {
  let digits = "";
  for (let rest = crc32(body); digits.length < CHECKSUM; rest = Math.floor(rest / 62)) {
    digits = BASE62.charAt(rest % 62) + digits;
  }
  return digits;
}

/** The CRC-32 of ISO 3309, of a text in ASCII. */
function crc32(text: string): number {
  let crc = 0xffffffff;
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}
