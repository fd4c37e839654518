"""What is revoked and could still be presented."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from marque._model import parse_time

if TYPE_CHECKING:
    from marque._verify.claims import Principal

_POSITION: Final = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


class Thing(NamedTuple):
    """A revocation."""

    generation: int
    """Of an account: tokens of a lower one are dead."""
    ends: float
    """When it can be forgotten, in seconds since 1970."""


class UnknownKind(Exception):
    """A revocation of a kind that this release does not know."""


class RevokedSet:
    """One thread or task writes to it, any may read.

    Everything in it is forgotten when its time has come, so that it is never larger than what
    was revoked within the life of a token.
    """

    def __init__(self) -> None:
        self._held: Final[dict[str, dict[str, Thing]]] = {
            "token": {},
            "service_account": {},
            "credential": {},
            "signing_key": {},
        }
        self._tokens: Final = self._held["token"]
        self._accounts: Final = self._held["service_account"]
        self._credentials: Final = self._held["credential"]
        self._keys: Final = self._held["signing_key"]
        self._ends: Final[dict[int, list[tuple[str, str]]]] = {}

    def stops(self, principal: Principal, kid: str) -> bool:
        """Whether a token is dead."""
        account = self._accounts.get(principal.client_id)
        return (
            (account is not None and (principal.generation or 0) < account.generation)
            or principal.token_id in self._tokens
            or principal.credential in self._credentials
            or kid in self._keys
        )

    def add(self, kind: str, name: str, thing: Thing) -> None:
        """Adds one. What is revoked stays so: a lower generation or an earlier end than is known
        changes nothing."""
        held = self._held[kind]
        before = held.get(name)
        if before is not None:
            thing = Thing(max(thing.generation, before.generation), max(thing.ends, before.ends))
        held[name] = thing
        if before is None or thing.ends > before.ends:
            self._ends.setdefault(int(thing.ends // 60) + 1, []).append((kind, name))

    def forget(self, now: float) -> None:
        """Drops what no token can be stopped by any more."""
        for minute in [minute for minute in self._ends if minute * 60 <= now]:
            for kind, name in self._ends.pop(minute):
                if self._held[kind][name].ends < minute * 60:  # else it was revoked again
                    del self._held[kind][name]

    def add_all(self, other: RevokedSet) -> None:
        """Adds what another one holds."""
        for kind, held in other._held.items():
            for name, thing in held.items():
                self.add(kind, name, thing)

    def __len__(self) -> int:
        return sum(len(held) for held in self._held.values())

    def add_entry(self, said: Any) -> None:
        """Adds what an event tells; raises `UnknownKind`, and any other error where the event is
        not what the contract says."""
        entry = _object(said)
        kind = _text(entry["kind"])
        if kind not in self._held:
            raise UnknownKind(kind)
        generation = _integer(entry["gen"]) if kind == "service_account" else 0
        self.add(kind, _text(entry["id"]), Thing(generation, _ends(entry)))


class Snapshot:
    """Everything that is revoked, at a position."""

    def __init__(self, said: Any) -> None:
        """Raises where it is not what the contract says."""
        snapshot = _object(said)
        self.position: Final = position_of(snapshot["position"])
        self.revoked: Final = RevokedSet()
        for account in _list(snapshot["service_accounts"]):
            thing = Thing(_integer(account["gen"]), _ends(account))
            self.revoked.add("service_account", _text(account["id"]), thing)
        for kind, member in (("credential", "credentials"), ("signing_key", "signing_keys")):
            for one in _list(snapshot[member]):
                self.revoked.add(kind, _text(one["id"]), Thing(0, _ends(one)))
        for group in _list(snapshot["tokens"]):
            thing = Thing(0, _ends(group))
            for name in cast("list[Any]", _of(list, group["ids"])):
                self.revoked.add("token", _text(name), thing)


def position_of(value: object) -> str:
    """A position as the contract has it, so that it can be compared and sent back."""
    if not isinstance(value, str) or _POSITION.fullmatch(value) is None:
        raise ValueError("not a position")
    return value


def behind(one: str, other: str) -> bool:
    """Whether a position lies before another."""
    return int(one) < int(other)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError("of another type than the contract's")
    return value


def _object(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", _of(dict, value))


def _list(value: Any) -> Iterable[Mapping[str, Any]]:
    return map(_object, cast("list[Any]", _of(list, value)))


def _text(value: Any) -> str:
    if not _of(str, value):
        raise ValueError("an empty text")
    return cast("str", value)


def _integer(value: Any) -> int:
    return cast("int", _of(int, value))


def _ends(entry: Mapping[str, Any]) -> float:
    return parse_time(_text(entry["expires_at"])).timestamp()
