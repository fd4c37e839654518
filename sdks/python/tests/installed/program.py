"""A program of somebody who has installed the package: both clients, both verifiers."""

from __future__ import annotations

import asyncio
import sys

import marque
from marque import models

MANAGEMENT = "urn:marque:management"


async def asynchronous() -> str:
    async with marque.AsyncMarque() as client, marque.AsyncVerifier() as verifier:
        token = await client.token(resource=MANAGEMENT)
        who = await verifier.verify(token.access_token.reveal(), audience=MANAGEMENT)
        return who.subject


def main() -> None:
    for name in marque.__all__:
        getattr(marque, name)
    assert "site-packages" in (marque.__file__ or "")
    with marque.Marque() as client, marque.Verifier() as verifier:
        me = client.whoami.get().service_account
        assert isinstance(me, models.ServiceAccount)
        token = client.token(resource=MANAGEMENT)
        who = verifier.verify(token.access_token.reveal(), audience=MANAGEMENT)
    assert asyncio.run(asynchronous()) == who.subject == me.id
    print(
        f"version {marque.__version__} on Python {sys.version_info.major}.{sys.version_info.minor}"
    )


main()
