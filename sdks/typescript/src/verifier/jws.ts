/** The compact form of a JSON Web Signature, read strictly. */

import { VerificationError } from "../errors.js";
import { decode } from "./base64url.js";
import { parseObject } from "./json.js";

const LONGEST_TOKEN = 8 << 10;
const LONGEST_HEADER = 512;

/** A kid is a key of a map, never part of a path, a query or an address. */
export const KEY_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** What stands in the header of a token: these three and nothing else. */
export interface Header {
  readonly alg: string;
  readonly kid: string;
  readonly typ: string | undefined;
}

/** A token in its parts; nothing is verified yet. */
export interface Jws {
  readonly header: Header;
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly signature: Uint8Array<ArrayBuffer>;
  /** The bytes that are signed. */
  readonly signed: Uint8Array<ArrayBuffer>;
}

const ENCODER = /* @__PURE__ */ new TextEncoder();
// A byte order mark is kept, so that it is found not to be JSON.
const DECODER = /* @__PURE__ */ new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Takes a token apart. Cheap steps come first: size, three parts, alphabet, header. */
export function parseJws(token: string): Jws {
  if (typeof token !== "string") throw malformed("it is not a string");
  if (token.length > LONGEST_TOKEN) throw malformed(`it is longer than ${LONGEST_TOKEN} characters`);
  const parts = token.split(".", 4);
  const [first, second, third] = parts;
  if (parts.length !== 3 || !first || second === undefined || !third) throw malformed("it has not three parts");
  if (first.length > LONGEST_HEADER) throw malformed("its header is too long");
  const [head, payload, signature] = [decode(first), decode(second), decode(third)];
  if (!head || !payload || !signature) throw malformed("it is not canonical base64url");
  return {
    header: parseHeader(head),
    payload,
    signature,
    signed: ENCODER.encode(token.slice(0, first.length + 1 + second.length)) as Uint8Array<ArrayBuffer>,
  };
}

/**
 * Reads exactly the members alg, kid and typ, plain strings without escapes. Any
 * other is a refusal, so that no crit, b64, zip, jku, x5u, jwk or x5c has a say:
 * ignoring them, as RFC 7515 section 4 has it, would let a verifier behind us see
 * a token that we did not.
 */
function parseHeader(bytes: Uint8Array): Header {
  const text = utf8(bytes);
  if (text === undefined || !/^[\t\n\r\x20-\x5b\x5d-\x7e]*$/.test(text))
    throw malformed("its header is not plain text");
  const members = parseObject(text, 1);
  if (members === undefined) throw malformed("its header is not a strict JSON object");
  for (const [name, value] of Object.entries(members)) {
    if (name !== "alg" && name !== "kid" && name !== "typ")
      throw malformed("its header has a member that is not allowed");
    if (typeof value !== "string" || value === "") throw malformed("a member of its header is not a plain string");
  }
  const { alg, kid, typ } = members as Record<string, string>;
  if (alg === undefined) throw malformed("its header has no alg");
  if (kid === undefined || !KEY_ID.test(kid)) throw malformed("its header has no kid that could be one");
  return { alg, kid, typ };
}

/** The text of bytes; undefined if they are not UTF-8. */
export function utf8(bytes: Uint8Array): string | undefined {
  try {
    return DECODER.decode(bytes);
  } catch {
    return undefined;
  }
}

/** A refusal that repeats nothing of the token. */
export function malformed(what: string): VerificationError {
  return new VerificationError("malformed", `the token is malformed: ${what}`);
}
