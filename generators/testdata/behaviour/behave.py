"""Uses generated code of the Python SDK, sync and async, against scripted replies and prints
what it saw and what went over the wire."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from marque import AsyncMarque, Marque
from marque._generated.enums import ServiceAccountStatus

REPLIES: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
END = datetime(2027, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def line(request: httpx.Request) -> str:
    path = request.url.path
    if query := sorted(request.url.params.multi_items()):
        path += "?" + urlencode(query)
    parts = [request.method, path, request.headers["authorization"].split()[0]]
    if match := request.headers.get("if-match"):
        parts.append(match)
    if body := request.content.decode():
        if body.startswith("{"):
            body = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
        parts += [request.headers["content-type"], body]
    return " ".join(parts)


def transport(wire: list[str]) -> httpx.MockTransport:
    def reply(request: httpx.Request) -> httpx.Response:
        key = f"{request.method} {request.url.path}"
        if page := request.url.params.get("page_token"):
            key += " " + page
        if request.url.path != "/oauth2/token":
            wire.append(line(request))
        answer = REPLIES[key]
        return httpx.Response(204) if answer is None else httpx.Response(200, json=answer)

    return httpx.MockTransport(reply)


def blocking() -> dict[str, object]:
    wire: list[str] = []
    seen: dict[str, object] = {}
    client = Marque(
        "https://marque.test",
        client_id="sa_0",
        client_secret="mqs_0",
        http_client=httpx.Client(transport=transport(wire)),
    )
    found = client.service_accounts.list(status=ServiceAccountStatus.ACTIVE, label=["a=b", "c=d"])
    seen["accounts"] = [account.id for account in found]
    seen["page_token"] = client.service_accounts.list(page_size=1).page().next_page_token
    account = client.service_accounts.update(
        "sa_1", owner="o", display_name=None, labels={"a": None, "b": "c"}, if_match='"v1"'
    )
    seen |= {"kind": account.kind, "expires_at": account.expires_at, "nickname": account.nickname}
    assert account.extra == {"what_comes_later": {"and": ["may", "be", "anything"]}}
    issued = client.client_secrets.create("sa_1", expires_at=END)
    seen["hidden"] = "mqs_text" not in f"{issued} {issued!r} {issued.to_wire()}"
    seen["revealed"] = issued.client_secret.reveal()
    client.role_assignments.delete("sa_1", "role_1")
    seen["active"] = client.tokens.introspect(token="tok").active
    seen["greeting"] = client.service_accounts.greet("sa_1", words="good day").words
    return {"seen": seen, "wire": wire}


async def awaiting() -> dict[str, object]:
    wire: list[str] = []
    seen: dict[str, object] = {}
    client = AsyncMarque(
        "https://marque.test",
        client_id="sa_0",
        client_secret="mqs_0",
        http_client=httpx.AsyncClient(transport=transport(wire)),
    )
    found = client.service_accounts.list(status=ServiceAccountStatus.ACTIVE, label=["a=b", "c=d"])
    seen["accounts"] = [account.id async for account in found]
    seen["page_token"] = (await client.service_accounts.list(page_size=1).page()).next_page_token
    account = await client.service_accounts.update(
        "sa_1", owner="o", display_name=None, labels={"a": None, "b": "c"}, if_match='"v1"'
    )
    seen |= {"kind": account.kind, "expires_at": account.expires_at, "nickname": account.nickname}
    issued = await client.client_secrets.create("sa_1", expires_at=END)
    seen["hidden"] = "mqs_text" not in f"{issued} {issued!r} {issued.to_wire()}"
    seen["revealed"] = issued.client_secret.reveal()
    await client.role_assignments.delete("sa_1", "role_1")
    seen["active"] = (await client.tokens.introspect(token="tok")).active
    seen["greeting"] = (await client.service_accounts.greet("sa_1", words="good day")).words
    return {"seen": seen, "wire": wire}


result = blocking()
again = asyncio.run(awaiting())
assert again == result, f"awaited, it is otherwise: {again}"
print(json.dumps(result))
