"""What an access token says (RFC 9068 section 2.2), and what must hold of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any, Final, cast

from marque._errors import VerificationError
from marque._verify.jws import refuse
from marque._verify.keys import PublicKey
from marque._verify.strict import parse_object

MAX_AHEAD: Final = 10.0
"""Seconds that a token may be dated ahead of our clock, since clocks differ."""
MAX_SCOPES: Final = 64
_MAX_DEPTH: Final = 4
_LAST: Final = 253_402_300_799  # the end of the year 9999, beyond which there is no datetime
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*", re.ASCII)  # RFC 6749 section 3.3


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, as a token says that has been verified."""

    subject: str
    """The service account."""
    client_id: str
    audience: tuple[str, ...]
    scopes: tuple[str, ...]
    """The permissions that were granted."""
    roles: tuple[str, ...]
    """The roles that grant something at this audience."""
    token_id: str
    """The `jti`: denylists go by it, never by the text of the token."""
    issued_at: datetime
    expires_at: datetime
    generation: int | None
    """The account's revocation generation when the token was issued."""
    credential: str | None
    """The id of the credential that earned the token."""
    confirmation: Mapping[str, Any] | None
    """The `cnf` of a token that is bound to a key or certificate (RFC 7800)."""
    claims: Mapping[str, Any] = field(repr=False)
    """All claims, as they were signed."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A token whose signature holds, with what must be looked at each time anew."""

    principal: Principal
    key: PublicKey
    issued_at: int
    not_before: int
    expires_at: int


def read_claims(payload: bytes, key: PublicKey, issuer: str) -> Verified:
    """Reads a signed payload. What is checked here stays true; times and audience do not."""
    try:
        claims = parse_object(payload, _MAX_DEPTH)
    except ValueError:
        claims = None
    if claims is None:
        raise refuse("malformed", "its payload is not a strict JSON object")
    subject, client_id, token_id = (_text(claims, name) for name in ("sub", "client_id", "jti"))
    issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
    not_before = _time(claims, "nbf") if "nbf" in claims else issued_at
    if expires_at <= issued_at or expires_at <= not_before:
        raise refuse("malformed", "it ends before it begins")
    generation = claims.get("gen")
    if generation is not None and type(generation) is not int:
        raise refuse("malformed", "gen is not a whole number")
    principal = Principal(
        subject=subject,
        client_id=client_id,
        audience=_audience(claims.get("aud")),
        scopes=_scopes(claims.get("scope", "")),
        roles=_roles(claims.get("roles", [])),
        token_id=token_id,
        issued_at=datetime.fromtimestamp(issued_at, timezone.utc),
        expires_at=datetime.fromtimestamp(expires_at, timezone.utc),
        generation=generation,
        credential=_text(claims, "cred") if "cred" in claims else None,
        confirmation=_confirmation(claims),
        claims=MappingProxyType(claims),
    )
    if _text(claims, "iss") != issuer:
        raise refuse("issuer", f"it was not issued by {issuer}")
    return Verified(principal, key, issued_at, not_before, expires_at)


def judge(verified: Verified, now: float, audience: str, leeway: float) -> Principal:
    """What may change from one call to the next: the time, and what it is presented for."""
    principal = verified.principal
    if audience not in principal.audience:
        raise refuse("audience", f"it is not meant for {audience}")
    if now >= verified.expires_at:
        late = now - verified.expires_at
        raise refuse("expired", f"it ended {late:.0f} s ago by this machine's clock")
    ahead = max(verified.issued_at, verified.not_before) - now
    if ahead > leeway:
        raise refuse(
            "not_yet_valid",
            f"it is dated {ahead:.0f} s ahead of this machine's clock: are both clocks right?",
        )
    return principal


def check_scopes(principal: Principal, scopes: Iterable[str]) -> None:
    """Refuses a token that lacks one of these permissions."""
    wanted = tuple(scopes)
    missing = [scope for scope in wanted if scope not in principal.scopes]
    if missing:
        raise VerificationError("scope", "the token lacks " + " ".join(missing), scopes=wanted)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise refuse("malformed", f"{name} is not a non-empty string")
    return value


def _time(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    # bool is an int to Python, and "1793612700" a number to lenient parsers.
    if type(value) is not int or not 0 <= value <= _LAST:
        raise refuse("malformed", f"{name} is not a whole number of seconds")
    return value


def _confirmation(claims: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if "cnf" not in claims:
        return None
    value = claims["cnf"]
    if not isinstance(value, dict) or not value:
        raise refuse("malformed", "cnf is not an object that names a key")
    return MappingProxyType(cast("dict[str, Any]", value))


def _audience(value: object) -> tuple[str, ...]:
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    texts = tuple(one for one in listed if isinstance(one, str) and one)
    if not texts or len(texts) != len(listed) or len(set(texts)) != len(texts):
        raise refuse("malformed", "aud is not an audience")
    return texts


def _scopes(value: object) -> tuple[str, ...]:
    if value == "":
        return ()
    if not isinstance(value, str) or _SCOPE.fullmatch(value) is None:
        raise refuse("malformed", "scope is not a list of permissions")
    scopes = value.split(" ")
    if len(scopes) > MAX_SCOPES:
        raise refuse("malformed", f"scope has more than {MAX_SCOPES} permissions")
    return tuple(scopes)


def _roles(value: object) -> tuple[str, ...]:
    listed = cast("list[object]", value) if isinstance(value, list) else [None]
    texts = tuple(one for one in listed if isinstance(one, str) and one)
    if len(texts) != len(listed):
        raise refuse("malformed", "roles is not a list of names")
    return texts
