"""Attacks on tokens. Each carries a valid signature over what it says, so that only the
strictness of the reader stands in the way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from marque import VerificationError
from marque._verify.jws import check_signature, split
from marque._verify.keys import SMALL_ORDER, PublicKey, parse_key, parse_key_set
from marque._verify.verifier import Verifier
from tests.fakes import API, ISSUER, FakeClock, Issuer, Server, b64, key_set

GOOD = '{"alg":"ES256","kid":"key-1","typ":"at+jwt"}'


def extended(member: str) -> str:
    return GOOD[:-1] + "," + member + "}"


HEADERS = {
    "alg none": '{"alg":"none","kid":"key-1","typ":"at+jwt"}',
    "alg None": '{"alg":"None","kid":"key-1","typ":"at+jwt"}',
    "alg nOnE": '{"alg":"nOnE","kid":"key-1","typ":"at+jwt"}',
    "alg in lower case": '{"alg":"es256","kid":"key-1","typ":"at+jwt"}',
    "alg of another curve": '{"alg":"ES384","kid":"key-1","typ":"at+jwt"}',
    "alg of another family": '{"alg":"RS256","kid":"key-1","typ":"at+jwt"}',
    "alg EdDSA": '{"alg":"EdDSA","kid":"key-1","typ":"at+jwt"}',
    "alg HS256": '{"alg":"HS256","kid":"key-1","typ":"at+jwt"}',
    "alg empty": '{"alg":"","kid":"key-1","typ":"at+jwt"}',
    "alg missing": '{"kid":"key-1","typ":"at+jwt"}',
    "alg a number": '{"alg":256,"kid":"key-1","typ":"at+jwt"}',
    "alg null": '{"alg":null,"kid":"key-1","typ":"at+jwt"}',
    "alg a list": '{"alg":["ES256"],"kid":"key-1","typ":"at+jwt"}',
    "alg escaped": '{"alg":"\\u0045S256","kid":"key-1","typ":"at+jwt"}',
    "alg's name escaped": '{"\\u0061lg":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}',
    "alg twice": '{"alg":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}',
    "alg and ALG": '{"ALG":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}',
    "ALG alone": '{"ALG":"ES256","kid":"key-1","typ":"at+jwt"}',
    "kid missing": '{"alg":"ES256","typ":"at+jwt"}',
    "kid empty": '{"alg":"ES256","kid":"","typ":"at+jwt"}',
    "kid unknown": '{"alg":"ES256","kid":"key-2","typ":"at+jwt"}',
    "kid a path": '{"alg":"ES256","kid":"../../dev/null","typ":"at+jwt"}',
    "kid SQL": '{"alg":"ES256","kid":"\' OR 1=1 --","typ":"at+jwt"}',
    "kid with NUL": '{"alg":"ES256","kid":"key-1\\u0000","typ":"at+jwt"}',
    "kid with raw NUL": '{"alg":"ES256","kid":"key-1\0","typ":"at+jwt"}',
    "kid with line end": '{"alg":"ES256","kid":"key-1\\n","typ":"at+jwt"}',
    "kid of 65": '{"alg":"ES256","kid":"' + "k" * 65 + '","typ":"at+jwt"}',
    "kid of 64 KiB": '{"alg":"ES256","kid":"' + "k" * 65536 + '","typ":"at+jwt"}',
    "kid twice": '{"alg":"ES256","kid":"key-2","kid":"key-1","typ":"at+jwt"}',
    "kid and Kelvin id": '{"alg":"ES256","kid":"key-1","typ":"at+jwt","\u212aid":"key-1"}',
    "kid an object": '{"alg":"ES256","kid":{"a":"key-1"},"typ":"at+jwt"}',
    "jku": extended('"jku":"https://evil.example/keys"'),
    "x5u": extended('"x5u":"https://evil.example/cert"'),
    "jwk": extended('"jwk":{"kty":"EC"}'),
    "jwk as string": extended('"jwk":"x"'),
    "x5c": extended('"x5c":["MIIB"]'),
    "crit exp": extended('"crit":["exp"],"exp":1'),
    "crit empty": extended('"crit":[]'),
    "b64 false": extended('"b64":false,"crit":["b64"]'),
    "b64 true": extended('"b64":true'),
    "compressed": extended('"zip":"DEF"'),
    "cty": extended('"cty":"JWT"'),
    "unknown member": extended('"x":"y"'),
    "empty name": extended('"":"y"'),
    "typ missing": '{"alg":"ES256","kid":"key-1"}',
    "typ empty": '{"alg":"ES256","kid":"key-1","typ":""}',
    "typ JWT": '{"alg":"ES256","kid":"key-1","typ":"JWT"}',
    "typ DPoP": '{"alg":"ES256","kid":"key-1","typ":"dpop+jwt"}',
    "typ in upper case": '{"alg":"ES256","kid":"key-1","typ":"AT+JWT"}',
    "typ in long form": '{"alg":"ES256","kid":"key-1","typ":"application/at+jwt"}',
    "a list": '["alg","ES256"]',
    "a string": '"alg"',
    "null": "null",
    "nested": extended('"a":' + '{"a":' * 50 + "1" + "}" * 50),
    "not JSON": '{alg:"ES256"}',
    "trailing": GOOD + "{}",
    "with BOM": "\ufeff" + GOOD,
    "latin-1": b'{"alg":"ES256","kid":"key-1","typ":"at+jwt","\xe9":""}',
    "UTF-16": GOOD.encode("utf-16"),
    "comment": "/**/" + GOOD,
}

PAYLOADS = {
    "empty": "",
    "not JSON": "foo",
    "a list": "[1]",
    "a string": '"x"',
    "trailing": '{"a":1}{"a":1}',
    "trailing comma": '{"a":1,}',
    "name twice": '{"sub":"a","sub":"b"}',
    "name twice, escaped": '{"sub":"a","s\\u0075b":"b"}',
    "case twins": '{"sub":"a","SUB":"b"}',
    "long s twin": '{"sub":"a","\u017fub":"b"}',
    "twins inside": '{"cnf":{"jkt":"a","JKT":"b"}}',
    "nested": '{"a":' * 50 + "1" + "}" * 50,
    "nested lists": '{"a":' + "[" * 50 + "]" * 50 + "}",
    "very deep": '{"a":' + "[" * 4000,
    "huge number": '{"exp":1' + "0" * 400 + "}",
    "number with zeros": '{"exp":01}',
    "NaN": '{"exp":NaN}',
    "infinity": '{"exp":-Infinity}',
    "hex": '{"exp":0x10}',
    "plus": '{"exp":+1}',
    "arabic digits": '{"exp":\u0661}',
    "lone surrogate": '{"sub":"\\ud800"}',
    "not UTF-8": b'{"sub":"\xff"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "raw line end": '{"sub":"a\nb"}',
    "bad escape": '{"sub":"\\x41"}',
    "more than 8 KiB": '{"a":"' + "a" * 8192 + '"}',
    "65 members": "{" + ",".join(f'"a{i}":1' for i in range(65)) + "}",
    "unterminated": '{"sub":"a',
}


@pytest.fixture
def verifier(issuer: Issuer, server: Server, clock: FakeClock) -> Verifier:
    server.on("GET /.well-known/jwks.json", key_set(issuer))
    return Verifier(ISSUER, http_client=server.http(), clock=clock)


def reason_of(verifier: Verifier, token: Any) -> str:
    with pytest.raises(VerificationError) as caught:
        verifier.verify(token, audience=API)
    error = caught.value
    assert error.status == 401
    assert error.www_authenticate == 'Bearer error="invalid_token"'
    return error.reason


def test_a_good_token_passes(verifier: Verifier, issuer: Issuer) -> None:
    assert verifier.verify(issuer.token(), audience=API).scopes[0] == "invoices:read"


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_headers_are_refused(verifier: Verifier, issuer: Issuer, name: str) -> None:
    token = issuer.sign(HEADERS[name], json.dumps(issuer.claims()))
    reason = reason_of(verifier, token)
    if name.startswith("typ "):
        assert reason in ("type", "malformed")
    assert reason in ("malformed", "algorithm", "type", "key_unknown")


@pytest.mark.parametrize("name", PAYLOADS)
def test_hostile_payloads_are_refused(verifier: Verifier, issuer: Issuer, name: str) -> None:
    assert reason_of(verifier, issuer.sign(GOOD, PAYLOADS[name])) == "malformed"


def test_symmetric_signatures_with_the_public_key_are_refused(
    verifier: Verifier, issuer: Issuer
) -> None:
    public = issuer.key.public_key()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        json.dumps(issuer.jwk()).encode(),
        b"",
    ]
    for secret in secrets:
        for algorithm in ("HS256", "ES256"):
            header = json.dumps(issuer.header(alg=algorithm))
            signed = b64(header) + "." + b64(json.dumps(issuer.claims()))
            mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
            assert reason_of(verifier, signed + "." + b64(mac)) in ("algorithm", "signature")


def test_other_spellings_of_a_good_token_are_refused(verifier: Verifier, issuer: Issuer) -> None:
    token = issuer.token()
    head, body, tail = token.split(".")
    spellings: list[Any] = [
        "", f"{head}.{body}", f"{head}.{body}.", f".{body}.{tail}", f"{token}.", f"{token}.a.b",
        "..", " " + token, token + " ", token + "\n", f"{head}.{body}.{tail[:9]}\r\n{tail[9:]}",
        f"{head[:4]}\n{head[4:]}.{body}.{tail}", token + "==", token + "\0", token + "\xff",
        token + "\uff41", json.dumps({"protected": head, "payload": body, "signature": tail}),
        "Bearer " + token, token + "A" * 9000, "A" * (1 << 20) + "." + body + "." + tail,
        token.encode(), None, 7,
    ]  # fmt: skip
    for text in spellings:
        assert reason_of(verifier, text) == "malformed", text
    # The last of 86 characters has four unused bits: 16 spellings, of which one is good.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(token[-1])
    others = [token[:-1] + alphabet[last & ~15 | unused] for unused in range(16)]
    assert others.count(token) == 1
    for text in others:
        if text != token:
            assert reason_of(verifier, text) == "malformed"


def test_signatures_out_of_range_are_refused(verifier: Verifier, issuer: Issuer) -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signed = b64(GOOD) + "." + b64(json.dumps(issuer.claims()))
    values = [0, 1, order, 2**256 - 1]
    for r in values:
        for s in values:
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
            assert reason_of(verifier, signed + "." + b64(signature)) == "signature"
    for size in (1, 63, 65, 96, 132):
        assert reason_of(verifier, signed + "." + b64(bytes(size))) == "signature"


def test_a_token_of_another_key_with_the_same_id_is_refused(verifier: Verifier) -> None:
    assert reason_of(verifier, Issuer().token()) == "signature"


def test_no_refusal_repeats_the_token(verifier: Verifier, issuer: Issuer) -> None:
    token = issuer.sign(extended('"x":"marker"'), "{}")
    with pytest.raises(VerificationError) as caught:
        verifier.verify(token, audience=API)
    assert "marker" not in str(caught.value)


def rsa_jwk(bits: int, exponent: int = 65537) -> tuple[rsa.RSAPrivateKey, dict[str, Any]]:
    key = rsa.generate_private_key(exponent, bits)
    n = key.public_key().public_numbers().n
    octets = n.to_bytes((n.bit_length() + 7) // 8, "big")
    e = b64(exponent.to_bytes(4, "big").lstrip(b"\0"))
    return key, {"kty": "RSA", "kid": "r", "n": b64(octets), "e": e}


def signed_by(key: PublicKey, algorithm: str, sign: Any) -> bytes:
    text = b64(json.dumps({"alg": algorithm, "kid": key.kid})) + "." + b64("{}")
    return check_signature(split(text + "." + b64(sign(text.encode())), {}), key)


def test_rs256_and_eddsa_are_verified_too() -> None:
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.hashes import SHA256

    private, jwk = rsa_jwk(2048)
    sign = lambda data: private.sign(data, padding.PKCS1v15(), SHA256())  # noqa: E731
    assert signed_by(parse_key(jwk), "RS256", sign) == b"{}"
    edwards = ed25519.Ed25519PrivateKey.generate()
    public = edwards.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    okp = parse_key({"kty": "OKP", "crv": "Ed25519", "kid": "e", "x": b64(public)})
    assert signed_by(okp, "EdDSA", edwards.sign) == b"{}"
    with pytest.raises(VerificationError) as caught:
        signed_by(okp, "EdDSA", lambda _: bytes(64))  # pyright: ignore
    assert caught.value.reason == "signature"
    with pytest.raises(VerificationError) as caught:
        signed_by(okp, "RS256", sign)
    assert caught.value.reason == "algorithm"


def test_keys_that_are_of_no_use_are_left_out(issuer: Issuer) -> None:
    good = issuer.jwk()
    off = b64((int.from_bytes(base64.urlsafe_b64decode(good["y"] + "=")) ^ 1).to_bytes(32, "big"))
    bad: list[Any] = [
        None, [], {}, good | {"kty": "oct", "k": "AA"}, good | {"d": "AA"}, good | {"kid": "../x"},
        good | {"kid": 7}, good | {"kid": "k" * 65}, good | {"use": "enc"}, good | {"alg": "ES384"},
        good | {"key_ops": ["sign"]}, good | {"key_ops": "verify"}, good | {"crv": "P-384"},
        good | {"y": off}, good | {"x": good["x"] + "AA"}, good | {"x": ""}, good | {"x": "!"},
        good | {"x": b64(bytes(32)), "y": b64(bytes(32))}, {**good, "kid": None},
        rsa_jwk(1024)[1], rsa_jwk(2048, 3)[1], {"kty": "RSA", "kid": "r", "n": "AA", "e": "AQAB"},
    ]  # fmt: skip
    for jwk in bad:
        with pytest.raises(ValueError, match=r"."):
            parse_key(jwk)
    body = json.dumps({"keys": [*bad, good]}).encode()
    assert list(parse_key_set(body)) == ["key-1"]
    twice = json.dumps({"keys": [good, Issuer().jwk()]}).encode()
    assert parse_key_set(twice) == {}, "which of two is meant cannot be told"
    assert len(parse_key_set(json.dumps({"keys": [good | {"x": good["x"]}]}).encode())) == 1
    for text in (b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[],"KEYS":[]}'):
        with pytest.raises(ValueError, match=r"."):
            parse_key_set(text)


def edwards_times_eight(y: int) -> tuple[int, int]:
    """8 P of a point with that y, by the addition law of RFC 8032 section 5.1.4."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
    x = pow(square, (p + 3) // 8, p)
    if (x * x - square) % p:
        x = x * pow(2, (p - 1) // 4, p) % p
    assert (x * x - square) % p == 0
    point = (x, y % p)
    for _ in range(3):
        a, b = point
        k = d * a * a * b * b % p
        point = (2 * a * b * pow(1 + k, -1, p) % p, (b * b + a * a) * pow(1 - k, -1, p) % p)
    return point


def test_keys_of_small_order_are_refused() -> None:
    for y in SMALL_ORDER:
        assert edwards_times_eight(y) == (0, 1)
        for sign in (0, 2**255):
            x = b64((y | sign).to_bytes(32, "little"))
            with pytest.raises(ValueError, match="small order"):
                parse_key({"kty": "OKP", "crv": "Ed25519", "kid": "e", "x": x})


def test_p256_keys_are_pinned_to_their_algorithm(issuer: Issuer) -> None:
    assert parse_key(issuer.jwk()).algorithm == "ES256"
    assert isinstance(issuer.key.curve, ec.SECP256R1)
