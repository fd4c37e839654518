import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { importKey } from "../../src/verifier/key.js";
import { base64url, newKey } from "../support/tokens.js";

const usable = async (jwk: unknown) => (await importKey(jwk)) !== undefined;

test("keys that cannot verify our tokens are left out of a set", async (t) => {
  const { jwk } = await newKey("key-1");
  const rsa = (await newKey("key-1", "RS256")).jwk;
  const ed = (await newKey("key-1", "EdDSA")).jwk;
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({ format: "jwk" });
  // 65537 to the power of 128, which has the mark of ROCA, and 2049 bits.
  const power = (65537n ** 128n).toString(16);
  const marked = base64url(Buffer.from(power.padStart(power.length + (power.length % 2), "0"), "hex"));
  assert.ok(await usable(jwk));
  assert.ok(await usable(rsa));
  assert.ok(await usable(ed));
  assert.ok(await usable({ ...jwk, alg: undefined, use: undefined }), "what it does not say about itself is no reason");
  assert.ok(await usable({ ...jwk, key_ops: ["verify"], x5c: ["MIIB"] }));
  const odd: Record<string, unknown> = {
    "no object": "EC",
    null: null,
    private: { ...jwk, d: "AAAA" },
    symmetric: { kty: "oct", kid: "key-1", k: "AAAA" },
    "for encryption": { ...jwk, use: "enc" },
    "for signing only": { ...jwk, key_ops: ["sign"] },
    "of another alg": { ...jwk, alg: "ES384" },
    "RSA for PSS": { ...rsa, alg: "PS256" },
    "of another curve": { ...jwk, crv: "P-384" },
    "without kid": { ...jwk, kid: undefined },
    "with a path for kid": { ...jwk, kid: "../x" },
    "off its curve": { ...jwk, y: jwk.x },
    "at infinity": { ...jwk, x: base64url(new Uint8Array(32)), y: base64url(new Uint8Array(32)) },
    "with a short coordinate": { ...jwk, x: base64url(new Uint8Array(31).fill(1)) },
    "with a long coordinate": { ...jwk, x: base64url(new Uint8Array(33).fill(1)) },
    "with padding": { ...jwk, x: `${jwk.x}=` },
    "RSA of 1024 bits": { ...weak, kid: "key-1" },
    "RSA of a generator that can be guessed": { ...rsa, n: marked },
    "RSA with e = 1": { ...rsa, e: "AQ" },
    "RSA with an even e": { ...rsa, e: "Ag" },
    "Ed25519 of order 1": { ...ed, x: base64url(new Uint8Array(32).fill(1, 0, 1)) },
    "Ed25519 of order 4": { ...ed, x: base64url(new Uint8Array(32)) },
    "Ed25519 of order 4, other sign": { ...ed, x: base64url(new Uint8Array(32).fill(0x80, 31)) },
    "Ed25519 of order 8": {
      ...ed,
      x: base64url(Buffer.from("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "hex")),
    },
  };
  for (const [name, key] of Object.entries(odd)) {
    await t.test(name, async () => assert.equal(await usable(key), false));
  }
});
