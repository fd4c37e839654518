import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseJws } from "../../src/verifier/jws.js";
import { importKey, type VerificationKey } from "../../src/verifier/key.js";

interface Vectors {
  readonly numberOfTests: number;
  readonly testGroups: {
    readonly public?: unknown;
    readonly private?: unknown;
    readonly tests: {
      readonly tcId: number;
      readonly comment: string;
      readonly jws: unknown;
      readonly result: string;
    }[];
  }[];
}

/** In $MARQUE_WYCHEPROOF or beside the repository; they are not part of it. */
function read(name: string): Vectors | undefined {
  const root = join(dirname(fileURLToPath(import.meta.url)), "../../../../..");
  const given = process.env.MARQUE_WYCHEPROOF;
  const dir = given ?? join(root, "..", "shared", "vectors");
  const file = [`wycheproof_${name}`, name].map((one) => join(dir, one)).find(existsSync);
  if (file !== undefined) return JSON.parse(readFileSync(file, "utf8")) as Vectors;
  assert.equal(given, undefined, `there is no ${name} in the directory that MARQUE_WYCHEPROOF names`);
  return undefined;
}

/** Why vectors that Wycheproof calls valid are refused, by name and by algorithm. */
const SECOND_SPELLING = "a character outside base64url, which lenient decoders skip";
const REFUSED_BY_NAME: Record<string, string> = {
  InvalidCharacterInsertedInHeader: SECOND_SPELLING,
  InvalidCharacterInsertedInPayload: SECOND_SPELLING,
  Figure13: "a kid with characters that no kid of Marque has",
};
const REFUSED_BY_ALGORITHM = /^(?:HS|PS|RS384|RS512|ES384|ES512)/;

/** The keys of a set as they would be registered, with a stand-in where one has no kid. */
async function keysOf(raw: unknown): Promise<Map<string, VerificationKey>> {
  const list = (raw as { keys?: unknown[] }).keys ?? [raw];
  const keys = new Map<string, VerificationKey>();
  for (const jwk of list) {
    const key = await importKey({ kid: "none", ...(jwk as object) });
    if (key !== undefined) keys.set(key.kid, key);
  }
  return keys;
}

async function accepts(jws: unknown, keys: Map<string, VerificationKey>): Promise<boolean> {
  try {
    const { header, signature, signed } = parseJws(jws as string);
    const key = keys.get(header.kid);
    return key !== undefined && key.alg === header.alg && (await key.verify(signature, signed));
  } catch {
    return false;
  }
}

for (const name of ["json_web_signature_test.json", "json_web_key_test.json"]) {
  const vectors = read(name);
  const skip = vectors === undefined && `set MARQUE_WYCHEPROOF to testvectors_v1 of C2SP/wycheproof to run ${name}`;
  test(`Wycheproof's ${name} gives no false accept`, { skip }, async (t) => {
    let ran = 0;
    let accepted = 0;
    const explained: Record<string, number> = {};
    for (const group of vectors?.testGroups ?? []) {
      const keys = await keysOf(group.public ?? group.private);
      for (const { tcId, comment, jws, result } of group.tests) {
        ran++;
        const alg = algorithmOf(jws);
        if (await accepts(jws, keys)) {
          accepted++;
          assert.equal(result, "valid", `${tcId} ${comment}: accepted, must be refused`);
        } else if (result === "valid") {
          const why =
            REFUSED_BY_NAME[comment] ?? (REFUSED_BY_ALGORITHM.test(alg) ? `${alg} is not offered` : undefined);
          assert.ok(why, `${tcId} ${comment} (${alg}): refused, called valid, and no reason is listed`);
          explained[why] = (explained[why] ?? 0) + 1;
        }
      }
    }
    assert.equal(ran, vectors?.numberOfTests);
    t.diagnostic(`${ran} vectors, ${accepted} accepted, 0 false accepts`);
    for (const [why, n] of Object.entries(explained)) t.diagnostic(`${n} valid ones refused: ${why}`);
  });
}

function algorithmOf(jws: unknown): string {
  try {
    const head = Buffer.from(String(jws).split(".", 1)[0] ?? "", "base64url").toString();
    return String((JSON.parse(head) as { alg?: unknown }).alg);
  } catch {
    return "unreadable";
  }
}
