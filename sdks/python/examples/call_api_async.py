"""The same with asyncio: many calls at once, one token."""

import asyncio
import os

import httpx

from marque import AsyncMarque


async def main() -> None:
    async with (
        AsyncMarque() as client,
        httpx.AsyncClient(auth=client.auth(resource="https://invoices.example.com")) as http,
    ):
        url = os.environ["INVOICES_URL"] + "/invoices"
        responses = await asyncio.gather(*(http.get(url) for _ in range(10)))
        print([response.status_code for response in responses])


asyncio.run(main())
