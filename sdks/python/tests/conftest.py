from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import AsyncFace, Face, FakeClock, Issuer, Server, SyncFace


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings or the profile of who runs it."""
    for name in list(os.environ):
        if name.startswith("MARQUE_") and name not in ("MARQUE_BINARY", "MARQUE_WYCHEPROOF"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(params=["sync", "async"])
def make(
    request: pytest.FixtureRequest, server: Server, clock: FakeClock
) -> Iterator[Callable[..., Face]]:
    """Makes a client of either sort, on the scripted server and the fake clock."""
    made: list[Face] = []

    def build(**options: Any) -> Face:
        face = (SyncFace if request.param == "sync" else AsyncFace)(server, clock, **options)
        made.append(face)
        return face

    yield build
    for face in made:
        face.close()


@pytest.fixture
def face(make: Callable[..., Face]) -> Face:
    return make()
