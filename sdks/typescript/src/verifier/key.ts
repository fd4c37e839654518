/** Public keys, each with the one algorithm that it verifies. */

import { decode } from "./base64url.js";
import { KEY_ID } from "./jws.js";

/** A key that may verify. */
export interface VerificationKey {
  readonly kid: string;
  readonly alg: string;
  /** Equal for equal key material. */
  readonly fingerprint: string;
  verify(signature: Uint8Array<ArrayBuffer>, signed: Uint8Array<ArrayBuffer>): Promise<boolean>;
}

type Jwk = Readonly<Record<string, unknown>>;
type Parameters = EcKeyImportParams | RsaHashedImportParams | AlgorithmIdentifier;

/** What differs between two algorithms. */
interface Suite {
  readonly alg: string;
  /** The members that are the key (RFC 7638 section 3.2), checked; undefined if they are no good. */
  readonly material: (jwk: Jwk) => Record<string, string> | undefined;
  readonly parameters: Parameters;
  readonly verification: AlgorithmIdentifier | EcdsaParams;
  /** In bytes; undefined where it depends on the key. */
  readonly signatureLength?: number;
}

const ES256: Suite = {
  alg: "ES256",
  // The import refuses a point that is not on the curve.
  material: ({ x, y }) =>
    length(x) === 32 && length(y) === 32 ? { crv: "P-256", x: x as string, y: y as string } : undefined,
  parameters: { name: "ECDSA", namedCurve: "P-256" },
  verification: { name: "ECDSA", hash: "SHA-256" },
  signatureLength: 64,
};

const EDDSA: Suite = {
  alg: "EdDSA",
  material: ({ x }) => (length(x) === 32 && !smallOrder(x as string) ? { crv: "Ed25519", x: x as string } : undefined),
  parameters: { name: "Ed25519" },
  verification: { name: "Ed25519" },
  signatureLength: 64,
};

const RS256: Suite = {
  alg: "RS256",
  material: ({ n, e }) => (goodModulus(n) && goodExponent(e) ? { n: n as string, e: e as string } : undefined),
  parameters: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  verification: { name: "RSASSA-PKCS1-v1_5" },
};

function suiteOf({ kty, crv }: Jwk): Suite | undefined {
  if (kty === "EC" && crv === "P-256") return ES256;
  if (kty === "OKP" && crv === "Ed25519") return EDDSA;
  if (kty === "RSA") return RS256;
  return undefined;
}

/** Members of private and symmetric keys: a set that shows one cannot be trusted with it. */
const PRIVATE = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/**
 * Reads one key of a set (RFC 7517); undefined if it cannot verify our tokens:
 * another type, another use, an alg that is not its own, key material that is no
 * good. The algorithm is pinned to the key here (RFC 8725 section 3.1).
 */
export async function importKey(jwk: unknown): Promise<VerificationKey | undefined> {
  if (typeof jwk !== "object" || jwk === null) return undefined;
  const members = jwk as Jwk;
  const { kid, kty, use, alg, key_ops: operations } = members;
  const suite = suiteOf(members);
  if (suite === undefined || typeof kid !== "string" || !KEY_ID.test(kid)) return undefined;
  if (PRIVATE.some((name) => Object.hasOwn(members, name))) return undefined;
  if ((use !== undefined && use !== "sig") || (alg !== undefined && alg !== suite.alg)) return undefined;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify"))) return undefined;
  const material = suite.material(members);
  if (material === undefined) return undefined;
  const { subtle } = crypto;
  let key: CryptoKey;
  try {
    key = await subtle.importKey("jwk", { kty: kty as string, ...material }, suite.parameters, false, ["verify"]);
  } catch {
    return undefined; // not on its curve, or an algorithm that this platform lacks
  }
  return {
    kid,
    alg: suite.alg,
    fingerprint: JSON.stringify([suite.alg, material]),
    verify: async (signature, signed) =>
      (suite.signatureLength === undefined || signature.length === suite.signatureLength) &&
      subtle.verify(suite.verification, key, signature, signed),
  };
}

function length(member: unknown): number | undefined {
  return typeof member === "string" ? decode(member)?.length : undefined;
}

function goodModulus(n: unknown): boolean {
  const bytes = typeof n === "string" ? decode(n) : undefined;
  if (bytes === undefined || bytes.length < 256 || bytes.length > 1024) return false;
  const [first = 0] = bytes;
  return (bytes.length > 256 ? first > 0 : first >= 0x80) && !guessable(bytes);
}

const PRIMES = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113,
  127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/**
 * Whether a modulus has the mark of the key generator of CVE-2017-15361 (ROCA),
 * whose keys can be factored: modulo each small prime it is a power of 65537.
 */
function guessable(modulus: Uint8Array): boolean {
  return PRIMES.every((prime) => {
    const rest = modulus.reduce((sum, byte) => (sum * 256 + byte) % prime, 0);
    let power = 1;
    do {
      if (power === rest) return true;
      power = (power * 65537) % prime;
    } while (power !== 1);
    return false;
  });
}

/** Odd, above 1, of at most 4 bytes. */
function goodExponent(e: unknown): boolean {
  const bytes = typeof e === "string" ? decode(e) : undefined;
  if (bytes === undefined || bytes.length === 0 || bytes.length > 4 || bytes[0] === 0) return false;
  const value = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  return value > 1 && value % 2 === 1;
}

/**
 * The y of the points of Ed25519 whose order divides 8, and their second
 * spellings, in hexadecimal: under such a key anything verifies (RFC 8032
 * section 5.1.7 leaves them in).
 */
const SMALL_ORDER = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`,
];

function smallOrder(x: string): boolean {
  const bytes = decode(x) ?? new Uint8Array(32);
  bytes[31] = (bytes[31] ?? 0) & 0x7f; // the sign of x has no say in the order
  return SMALL_ORDER.includes(Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(""));
}
