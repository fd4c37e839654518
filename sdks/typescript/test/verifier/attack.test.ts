import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { base64url, type Key, keyServer, newKey } from "../support/tokens.js";
import { verdict, verifierOf } from "../support/verifier.js";

const good = '{"alg":"ES256","kid":"key-1","typ":"at+jwt"}';
const more = (member: string) => `${good.slice(0, -1)},${member}}`;
const deep = `${'{"a":'.repeat(50)}1${"}".repeat(50)}`;

// Each carries a true signature over what it says, so that only strictness stands in its way.
const headers: Record<string, [reason: string, header: string]> = {
  "alg none": ["algorithm", good.replace("ES256", "none")],
  "alg nOnE": ["algorithm", good.replace("ES256", "nOnE")],
  "alg in lower case": ["algorithm", good.replace("ES256", "es256")],
  "alg of another curve": ["algorithm", good.replace("ES256", "ES384")],
  "alg of another family": ["algorithm", good.replace("ES256", "RS256")],
  "alg HS256": ["algorithm", good.replace("ES256", "HS256")],
  "alg empty": ["malformed", good.replace("ES256", "")],
  "alg missing": ["malformed", '{"kid":"key-1","typ":"at+jwt"}'],
  "alg a number": ["malformed", good.replace('"ES256"', "256")],
  "alg a list": ["malformed", good.replace('"ES256"', '["ES256"]')],
  "alg escaped": ["malformed", good.replace("ES256", "\\u0045S256")],
  "alg twice": ["malformed", `{"alg":"none",${good.slice(1)}`],
  "alg and ALG": ["malformed", `{"ALG":"none",${good.slice(1)}`],
  "kid missing": ["malformed", '{"alg":"ES256","typ":"at+jwt"}'],
  "kid empty": ["malformed", good.replace("key-1", "")],
  "kid unknown": ["key_unknown", good.replace("key-1", "key-2")],
  "kid a path": ["malformed", good.replace("key-1", "../../dev/null")],
  "kid SQL": ["malformed", good.replace("key-1", "' OR 1=1 --")],
  "kid with NUL": ["malformed", good.replace("key-1", "key-1\0")],
  "kid of 65 characters": ["malformed", good.replace("key-1", "k".repeat(65))],
  "kid of 64 KiB": ["malformed", good.replace("key-1", "k".repeat(64 << 10))],
  "kid of the prototype": ["key_unknown", good.replace("key-1", "constructor")],
  "kid and Kelvin id": ["malformed", more('"\u212aid":"key-1"')],
  jku: ["malformed", more('"jku":"https://evil.example/keys"')],
  x5u: ["malformed", more('"x5u":"https://evil.example/cert"')],
  jwk: ["malformed", more('"jwk":{"kty":"EC"}')],
  x5c: ["malformed", more('"x5c":["MIIB"]')],
  "crit of exp": ["malformed", more('"crit":["exp"],"exp":1')],
  "crit empty": ["malformed", more('"crit":[]')],
  "b64 false": ["malformed", more('"b64":false')],
  compressed: ["malformed", more('"zip":"DEF"')],
  "a member unheard of": ["malformed", more('"x":"y"')],
  __proto__: ["malformed", more('"__proto__":"y"')],
  "typ missing": ["type", '{"alg":"ES256","kid":"key-1"}'],
  "typ JWT": ["type", good.replace("at+jwt", "JWT")],
  "typ of a DPoP proof": ["type", good.replace("at+jwt", "dpop+jwt")],
  "typ in its long form": ["type", good.replace("at+jwt", "application/at+jwt")],
  "header a list": ["malformed", '["alg","ES256"]'],
  "header null": ["malformed", "null"],
  "header nested": ["malformed", more(`"a":${deep}`)],
  "header not JSON": ["malformed", '{alg:"ES256"}'],
  "header with more behind": ["malformed", `${good}{}`],
  "header with a byte order mark": ["malformed", `\ufeff${good}`],
};

const claims = (member: string) => `{"iss":"x",${member}}`;
const payloads: Record<string, string | Uint8Array> = {
  empty: "",
  "not JSON": "foo",
  "a list": "[1]",
  "more behind": '{"a":1}{"a":1}',
  "name twice": claims('"sub":"a","sub":"b"'),
  "name twice, escaped": claims('"sub":"a","s\\u0075b":"b"'),
  "case twins": claims('"sub":"a","SUB":"b"'),
  "long s twin": claims('"sub":"a","\u017fub":"b"'),
  "twins inside": claims('"cnf":{"jkt":"a","JKT":"b"}'),
  "twins in a list": claims('"x":[{"a":1,"A":2}]'),
  nested: deep,
  "nested lists": claims(`"a":${"[".repeat(50)}${"]".repeat(50)}`),
  "huge number": claims(`"exp":1${"0".repeat(400)}`),
  "lone surrogate": claims('"sub":"\\ud800"'),
  "not UTF-8": Buffer.from('{"sub":"\xff"}', "latin1"),
  "too many members": `{${Array.from({ length: 65 }, (_, i) => `"a${i}":1`).join(",")}}`,
  "more than 8 KiB": claims(`"a":"${"a".repeat(8 << 10)}"`),
};

test("signed attacks in the header are refused, each for its reason", async (t) => {
  const key = await newKey("key-1");
  const { verifier } = verifierOf(keyServer(key));
  for (const [name, [reason, header]] of Object.entries(headers)) {
    await t.test(name, async () => assert.equal(await verdict(verifier, await key.forge(header, "{}")), reason));
  }
});

test("payloads that parsers read differently are refused", async (t) => {
  const key = await newKey("key-1");
  const { verifier } = verifierOf(keyServer(key));
  for (const [name, payload] of Object.entries(payloads)) {
    await t.test(name, async () => assert.equal(await verdict(verifier, await key.forge(good, payload)), "malformed"));
  }
});

test("claims of another form are refused", async (t) => {
  const key = await newKey("key-1");
  const { verifier } = verifierOf(keyServer(key));
  const odd: Record<string, object> = {
    "exp as text": { exp: "1893456000" },
    "exp a fraction": { exp: 1893456000.5 },
    "exp negative": { exp: -1 },
    "exp beyond all": { exp: 2 ** 60 },
    "exp missing": { exp: undefined },
    "exp before iat": { exp: 1 },
    "iat missing": { iat: undefined },
    "nbf as text": { nbf: "1" },
    "sub missing": { sub: undefined },
    "sub empty": { sub: "" },
    "client_id a number": { client_id: 7 },
    "jti missing": { jti: undefined },
    "iss missing": { iss: undefined },
    "aud missing": { aud: undefined },
    "aud empty": { aud: "" },
    "aud with an empty one": { aud: ["https://invoices.example.com", ""] },
    "aud of nobody": { aud: [] },
    "aud of a crowd": { aud: Array(17).fill("https://invoices.example.com") },
    "scope a list": { scope: ["a"] },
    "65 scopes": { scope: Array.from({ length: 65 }, (_, i) => `s${i}`).join(" ") },
    "roles a text": { roles: "admin" },
    "cnf a text": { cnf: "x" },
    "gen a text": { gen: "3" },
  };
  for (const [name, change] of Object.entries(odd)) {
    await t.test(name, async () => assert.equal(await verdict(verifier, await key.token(change)), "malformed"));
  }
});

test("one token has one spelling", async () => {
  const key = await newKey("key-1");
  const { verifier } = verifierOf(keyServer(key), { cacheSize: 0 });
  const token = await key.token();
  assert.equal(await verdict(verifier, token), "accepted");
  const last = token.slice(-1);
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const sibling = alphabet[alphabet.indexOf(last) ^ 1]; // differs in a bit that decoders drop
  const spellings = [`${token}=`, `${token}\n`, ` ${token}`, `${token}.`, token.slice(0, -1) + sibling];
  for (const spelling of [...spellings, token.replace(".", ".."), token.replaceAll("-", "+"), ""]) {
    if (spelling !== token) assert.equal(await verdict(verifier, spelling), "malformed", JSON.stringify(spelling));
  }
  const [head, body] = token.split(".");
  assert.equal(await verdict(verifier, `${head}.${body}.`), "malformed");
});

test("a signature by another key, in another form, or of another length does not verify", async () => {
  const [ours, theirs] = [await newKey("key-1"), await newKey("key-1")];
  const { verifier } = verifierOf(keyServer(ours));
  assert.equal(await verdict(verifier, await theirs.token()), "signature");
  const signed = (await ours.token()).split(".").slice(0, 2).join(".");
  for (const size of [1, 63, 64, 65, 72, 128]) {
    assert.equal(await verdict(verifier, `${signed}.${base64url(new Uint8Array(size))}`), "signature");
  }
});

test("a public key is no secret: HMAC with it is refused", async () => {
  const key = await newKey("key-1");
  const { verifier } = verifierOf(keyServer(key));
  for (const secret of [JSON.stringify(key.jwk), Buffer.from(String(key.jwk.x), "base64url"), ""]) {
    for (const alg of ["HS256", "ES256"]) {
      const signed = `${base64url(good.replace("ES256", alg))}.${base64url("{}")}`;
      const mac = createHmac("sha256", secret).update(signed).digest("base64url");
      assert.equal(await verdict(verifier, `${signed}.${mac}`), alg === "HS256" ? "algorithm" : "signature");
    }
  }
});

test("a verifier that is given no text refuses it", async () => {
  const { verifier } = verifierOf(keyServer(await newKey("key-1")));
  for (const odd of [undefined, null, 7, {}])
    assert.equal(await verdict(verifier, odd as never as string), "malformed");
});

test("tokens of EdDSA and RS256 keys verify, each by its own algorithm alone", async () => {
  const keys: Key[] = [await newKey("a"), await newKey("b", "EdDSA"), await newKey("c", "RS256")];
  const { verifier } = verifierOf(keyServer(...keys));
  for (const key of keys) {
    assert.equal(await verdict(verifier, await key.token()), "accepted", key.alg);
    for (const { alg } of keys) {
      const expected = alg === key.alg ? "accepted" : "algorithm";
      assert.equal(await verdict(verifier, await key.token({}, { alg })), expected, `${key.alg} as ${alg}`);
    }
    for (const { kid } of keys.filter((other) => other.kid !== key.kid)) {
      assert.equal(await verdict(verifier, await key.token({}, { kid })), "algorithm");
    }
  }
});
