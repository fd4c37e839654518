"""Public keys, each of which verifies exactly one algorithm (RFC 7517, RFC 7518, RFC 8037)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from marque._verify.strict import decode_base64url, parse_object

MAX_KEYS: Final = 100
_KID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_ECDSA: Final = ec.ECDSA(SHA256())
_PKCS1: Final = padding.PKCS1v15()
_SHA256: Final = SHA256()
_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192

# The y of the points of small order on the curve of Ed25519, and the spellings beyond the
# prime of two of them: with such a key one signature fits many messages.
_P: Final = 2**255 - 19
_Y8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER: Final = frozenset({0, 1, _P - 1, _P, _P + 1, _Y8, _P - _Y8})

_ROCA_PRIMES: Final = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)

Verify = Callable[[bytes, bytes], bool]


class PublicKey:
    """A key of an issuer. `verify(signature, signed)` tells whether the signature holds."""

    __slots__ = ("algorithm", "kid", "source", "verify")

    def __init__(self, kid: str, algorithm: str, verify: Verify, source: Mapping[str, Any]) -> None:
        self.kid: Final = kid
        self.algorithm: Final = algorithm
        self.verify: Final = verify
        self.source: Final = source
        """What it was made of, by which an unchanged key is known again."""


def valid_kid(kid: object) -> bool:
    """A kid is a key of a map, never part of a path, a query or an address."""
    return isinstance(kid, str) and _KID.fullmatch(kid) is not None


def parse_key_set(body: bytes) -> dict[str, PublicKey]:
    """The usable keys of a key set by their ids; ValueError where it is none.

    Keys for other purposes and of kinds that are unknown here are left out, as RFC 7517
    section 5 asks. Of a kid that stands twice neither is taken: which is meant cannot be told.
    """
    members = parse_object(body, 6)
    listed = members.get("keys")
    if not isinstance(listed, list):
        raise ValueError("not a key set")
    found: dict[str, PublicKey] = {}
    twice: set[str] = set()
    for one in cast("list[object]", listed)[:MAX_KEYS]:
        try:
            key = parse_key(one)
        except ValueError:
            continue
        if key.kid in found:
            twice.add(key.kid)
        found[key.kid] = key
    return {kid: key for kid, key in found.items() if kid not in twice}


def parse_key(jwk: object) -> PublicKey:
    """One key; ValueError says why it is of no use."""
    if not isinstance(jwk, dict):
        raise ValueError("a key is an object")
    members = cast("dict[str, Any]", jwk)
    if any(name in members for name in _PRIVATE):
        raise ValueError("the key is private or symmetric")
    kid = members.get("kid")
    if not valid_kid(kid):
        raise ValueError("the key has no id that could be looked up")
    if members.get("use", "sig") != "sig":
        raise ValueError("the key is not for signatures")
    operations: Any = members.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("the key is not for verification")
    match members.get("kty"), members.get("crv"):
        case "EC", "P-256":
            algorithm, verify = "ES256", _es256(members)
        case "OKP", "Ed25519":
            algorithm, verify = "EdDSA", _eddsa(members)
        case "RSA", None:
            algorithm, verify = "RS256", _rs256(members)
        case _:
            raise ValueError("the key is of an unknown kind")
    # The key decides the algorithm: the header of a token may only agree (RFC 8725 3.1).
    if members.get("alg", algorithm) != algorithm:
        raise ValueError("the key is for another algorithm")
    return PublicKey(cast("str", kid), algorithm, verify, members)


def _octets(members: Mapping[str, Any], name: str, size: int | None = None) -> bytes:
    text = members.get(name)
    if not isinstance(text, str) or _BASE64URL.fullmatch(text) is None:
        raise ValueError(f"{name} is not base64url")
    octets = decode_base64url(text)
    if size is not None and len(octets) != size:
        raise ValueError(f"{name} has another size")
    return octets


def _es256(members: Mapping[str, Any]) -> Verify:
    x = int.from_bytes(_octets(members, "x", 32))
    y = int.from_bytes(_octets(members, "y", 32))
    # Refuses a point that is not on the curve.
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    check = key.verify

    def verify(signature: bytes, signed: bytes) -> bool:
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        try:
            check(encode_dss_signature(r, s), signed, _ECDSA)
        except InvalidSignature:
            return False
        return True

    return verify


def _eddsa(members: Mapping[str, Any]) -> Verify:
    octets = _octets(members, "x", 32)
    if int.from_bytes(octets, "little") & (2**255 - 1) in SMALL_ORDER:
        raise ValueError("the key is a point of small order")
    try:
        check = ed25519.Ed25519PublicKey.from_public_bytes(octets).verify
    except UnsupportedAlgorithm:
        raise ValueError("this build of cryptography has no Ed25519") from None

    def verify(signature: bytes, signed: bytes) -> bool:
        if len(signature) != 64:
            return False
        try:
            check(signature, signed)
        except InvalidSignature:
            return False
        return True

    return verify


def _is_roca(n: int) -> bool:
    """The fingerprint of CVE-2017-15361: modulo each small prime n is a power of 65537."""
    for prime in _ROCA_PRIMES:
        power, rest = 1, n % prime
        while power != rest:
            power = power * 65537 % prime
            if power == 1:
                return False
    return True


def _rs256(members: Mapping[str, Any]) -> Verify:
    n = int.from_bytes(_octets(members, "n"))
    e = int.from_bytes(_octets(members, "e"))
    if not _MIN_RSA_BITS <= n.bit_length() <= _MAX_RSA_BITS or n % 2 == 0:
        raise ValueError("the RSA key has not between 2048 and 8192 bits")
    if not 2**16 < e < 2**32 or e % 2 == 0:
        raise ValueError("the RSA exponent is out of range")
    if _is_roca(n):
        raise ValueError("the RSA key was made by a chip whose keys can be factored")
    check = rsa.RSAPublicNumbers(e, n).public_key().verify
    size = (n.bit_length() + 7) // 8

    def verify(signature: bytes, signed: bytes) -> bool:
        if len(signature) != size:
            return False
        try:
            check(signature, signed, _PKCS1, _SHA256)
        except InvalidSignature:
            return False
        return True

    return verify
