"""A JSON Web Signature in compact form (RFC 7515), read so that nothing is left to chance.

The order is fixed and cheap steps come first: size, alphabet, header, key by its id,
algorithm as pinned to that key, signature. Nothing of the payload is looked at before.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from marque._errors import Reason, VerificationError
from marque._verify.keys import PublicKey, valid_kid
from marque._verify.strict import decode_base64url, parse_object

MAX_TOKEN: Final = 8 << 10
"""Bytes of the longest token that is looked at. Marque's have at most 6 KiB."""
_MAX_HEADER: Final = 512
_SHAPE: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]+", re.ASCII)
_ALGORITHMS: Final = frozenset({"ES256", "EdDSA", "RS256"})


class Header(NamedTuple):
    """All that a header may say."""

    algorithm: str
    kid: str
    type: str | None


class Parts(NamedTuple):
    """A token whose form is good. Nothing in it may be believed yet."""

    header: Header
    payload: str
    """Encoded."""
    signature: str
    """Encoded."""
    signed: bytes


def refuse(reason: Reason, message: str) -> VerificationError:
    """A refusal. The message never repeats a byte of the token."""
    return VerificationError(reason, f"the token is refused: {message}")


_MAX_KNOWN: Final = 64


def split(token: object, known: dict[str, Header]) -> Parts:
    """Takes a token apart. `token` comes from strangers and may be anything.

    `known` are headers that were read before: those of one key are all alike.
    """
    if not isinstance(token, str):
        raise refuse("malformed", "it is not a string")
    if len(token) > MAX_TOKEN:
        raise refuse("malformed", f"it is longer than {MAX_TOKEN} characters")
    match = _SHAPE.fullmatch(token)
    if match is None:
        raise refuse("malformed", "it is not three parts of base64url with dots between them")
    text, payload, signature = match.groups()
    header = known.get(text)
    if header is None:
        header = parse_header(text)
        if len(known) >= _MAX_KNOWN:
            known.clear()
        known[text] = header
    return Parts(header, payload, signature, token[: match.end(2)].encode("ascii"))


def parse_header(text: str) -> Header:
    """Reads exactly the members alg, kid and typ, all of them strings without escapes.

    Any other member is a refusal: to ignore unknown ones, as RFC 7515 section 4 has it, would
    let a verifier behind this one see another token. So crit, b64, zip, jku, x5u, jwk and x5c
    never have a say.
    """
    members = None
    if len(text) <= _MAX_HEADER:
        try:
            plain = decode_base64url(text)
            # An escape is a second spelling of what needs none.
            members = None if b"\\" in plain else parse_object(plain, 1)
        except ValueError:
            pass
    if members is None:
        raise refuse("malformed", "its header is not a small, strict JSON object")
    for name, value in members.items():
        if name not in ("alg", "kid", "typ"):
            raise refuse("malformed", "its header has a member other than alg, kid and typ")
        if not isinstance(value, str) or _PLAIN.fullmatch(value) is None:
            raise refuse("malformed", "a member of its header is not a plain string")
    algorithm, kid = members.get("alg"), members.get("kid")
    if not isinstance(algorithm, str):
        raise refuse("malformed", "its header has no alg")
    if algorithm not in _ALGORITHMS:
        raise refuse("algorithm", "its algorithm is none of " + ", ".join(sorted(_ALGORITHMS)))
    if not valid_kid(kid):
        raise refuse("malformed", "its header has no kid that could be looked up")
    return Header(algorithm, members["kid"], members.get("typ"))


def check_signature(parts: Parts, key: PublicKey) -> bytes:
    """The payload, signed by the key."""
    if parts.header.algorithm != key.algorithm:
        raise refuse("algorithm", "its algorithm is not the one of its key")
    try:
        signature, payload = decode_base64url(parts.signature), decode_base64url(parts.payload)
    except ValueError:
        signature = payload = None
    if signature is None or payload is None:
        raise refuse("malformed", "it is not in canonical base64url")
    if not key.verify(signature, parts.signed):
        raise refuse("signature", "its signature does not fit")
    return payload
