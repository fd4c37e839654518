"""Does what the conformance runner says with the public API of the Python SDK.

../../README.md has the protocol. With --async it drives the asyncio client, else the one for
threads, each call of which gets a thread.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import protect
import wire
from faketime import FakeClock

import marque

ASYNC = "--async" in sys.argv[1:]
UNCANCELLABLE = "a thread is not cancelled: its caller gives up by its timeout"

Request = dict[str, Any]
Answer = dict[str, Any]


class Fault(Exception):
    """What the runner asks for cannot be understood."""


class Driver:
    """What has been made so far."""

    def __init__(self) -> None:
        self.clients: dict[str, tuple[Any, Request]] = {}
        self.verifiers: dict[str, tuple[Any, Request]] = {}
        self.followers: dict[str, Any] = {}
        self.https: dict[str, Any] = {}
        self.started: dict[str, asyncio.Task[Answer]] = {}
        self.clocks: list[FakeClock] = []
        self.variables: dict[str, str | None] = {}
        self.threads = ThreadPoolExecutor(max_workers=2048)

    async def answer(self, request: Request) -> Answer:
        """One operation, whatever comes of it."""
        try:
            method = getattr(self, "op_" + request["op"], None)
            if method is None:
                raise Fault(f"there is no operation {request['op']!r}")
            return await method(request)
        except Fault as error:
            return {"fault": str(error)}
        except asyncio.CancelledError as error:
            return {"err": {"kind": "canceled", "retryable": False, "text": wire.trace(error)}}
        except Exception as error:  # noqa: BLE001 - all that is no error of the SDK is a fault
            return wire.refused(error)

    async def run(self, what: Callable[[], Any]) -> Any:
        """Calls the SDK: awaits what is to be awaited, and gives what blocks a thread."""
        if not ASYNC:
            return await asyncio.get_running_loop().run_in_executor(self.threads, what)
        value = what()
        return await value if inspect.isawaitable(value) else value

    def client(self, request: Request) -> tuple[Any, Request]:
        try:
            return self.clients[request["on"]]
        except KeyError:
            raise Fault(f"there is no client {request.get('on')}") from None

    async def op_hello(self, request: Request) -> Answer:
        name = "python-async" if ASYNC else "python"
        return {"ok": {"sdk": name, "version": marque.__version__, "protocol": 1}}

    async def op_new(self, request: Request) -> Answer:
        for name, value in request.get("environment", {}).items():
            self.variables.setdefault(name, os.environ.get(name))
            os.environ[name] = value
        options = self.options(request)
        options |= request.get("credentials", {})
        if windows := request.get("refresh_windows"):
            options["refresh_windows"] = marque.RefreshWindows(**windows)
        if "revoked" in request:
            options["revocations"] = wire.Denylist(request["revoked"])
        if follow := request.get("follow"):
            client, _ = self.client({"on": follow.pop("client")})
            followed = client.follow_revocations(**follow)
            options["revocations"] = self.followers[request["as"]] = followed
        if request["kind"] == "client":
            sort, kept = (marque.AsyncMarque if ASYNC else marque.Marque), self.clients
        else:
            sort, kept = (marque.AsyncVerifier if ASYNC else marque.Verifier), self.verifiers
        made: Any = sort(request.get("issuer"), **options)
        kept[request["as"]] = (made, request)
        return {"ok": {"text": wire.printed(made)}}

    def options(self, request: Request) -> dict[str, Any]:
        """What clients and verifiers are given alike."""
        same = ("ca_file", "timeout", "token_timeout", "retries", "leeway")
        options = {name: request[name] for name in same if name in request}
        if "clock" in request:
            options["clock"] = FakeClock(request["clock"]["at"])
            self.clocks.append(options["clock"])
        return options

    async def op_call(self, request: Request) -> Answer:
        method, args, kwargs = wire.arguments(self.client(request)[0], request)
        answers: list[marque.Response] = []
        kwargs["on_response"] = answers.append
        if request["operation"].endswith(".list"):
            value = await self.run(lambda: method(*args, **kwargs).page())
        else:
            value = await self.run(lambda: method(*args, **kwargs))
        (response,) = answers
        told = {"request_id": response.request_id, "etag": response.etag}
        told = {name: text for name, text in told.items() if text is not None}
        ok = {"value": wire.reveal(value), "text": wire.printed(value), "status": response.status}
        return {"ok": ok | told}

    async def op_iterate(self, request: Request) -> Answer:
        method, args, kwargs = wire.arguments(self.client(request)[0], request)
        limit = request.get("limit", sys.maxsize)
        items: list[Any] = []
        if ASYNC:
            async for item in method(*args, **kwargs):
                items.append(wire.reveal(item))
                if len(items) == limit:
                    break
            return {"ok": {"items": items}}

        def iterate() -> None:
            for item in method(*args, **kwargs):
                items.append(wire.reveal(item))
                if len(items) == limit:
                    break

        await self.run(iterate)
        return {"ok": {"items": items}}

    def _target(self, made: Request, request: Request) -> dict[str, Any]:
        names = ("resource", "scopes")
        return {n: request.get(n, made.get(n)) for n in names if request.get(n, made.get(n))}

    async def op_token(self, request: Request) -> Answer:
        client, made = self.client(request)
        target = self._target(made, request)
        token = await self.run(lambda: client.token(**target))
        text = token.access_token.reveal()
        ends = token.expires_at.timestamp()
        return {
            "ok": {"access_token": text, "expires_at": ends, "text": wire.printed(token)},
        }

    async def op_fetch(self, request: Request) -> Answer:
        client, made = self.client(request)
        auth = client.auth(**self._target(made, request))
        http = self.https.get(request["on"])
        if http is None:
            http = self.https[request["on"]] = wire.http_client(made, asynchronous=ASYNC)
        body = wire.body(request, asynchronous=ASYNC)
        response = await self.run(
            lambda: http.request(
                request["method"],
                request["url"],
                headers=request.get("headers"),
                content=body,
                auth=auth,
            )
        )
        return {
            "ok": wire.response(response.status_code, response.headers.multi_items(), response.text)
        }

    def verifier(self, request: Request) -> tuple[Any, str | None]:
        try:
            made, options = self.verifiers[request["on"]]
        except KeyError:
            raise Fault(f"there is no verifier {request.get('on')}") from None
        return made, request.get("audience", options.get("audience"))

    async def op_verify(self, request: Request) -> Answer:
        verifier, audience = self.verifier(request)
        scopes = request.get("scopes", ())
        who = await self.run(
            lambda: verifier.verify(request["token"], audience=audience, scopes=scopes)
        )
        return {"ok": wire.principal(who)}

    async def op_following(self, request: Request) -> Answer:
        state = self.followers[request["on"]].state()
        told = {"position": state.position, "error": state.error and str(state.error)}
        told = {name: text for name, text in told.items() if text is not None}
        return {"ok": {"stale": state.stale, "revoked": state.revoked} | told}

    async def op_protect(self, request: Request) -> Answer:
        verifier, audience = self.verifier(request)
        scopes = request.get("scopes", ())
        guarded = {"verifier": verifier, "audience": audience, "scopes": scopes}
        if ASYNC:
            return {"ok": await protect.asgi(guarded, request["request"])}
        return {"ok": await self.run(lambda: protect.wsgi(guarded, request["request"]))}

    async def op_parallel(self, request: Request) -> Answer:
        runs = [self.answer(request["run"]) for _ in range(request.get("count", 1))]
        return {"ok": {"answers": await asyncio.gather(*runs)}}

    async def op_start(self, request: Request) -> Answer:
        task = asyncio.create_task(self.answer(request["run"]))
        self.started[request["as"]] = task
        await asyncio.sleep(0)  # so that it has begun
        return {"ok": {}}

    def _task(self, request: Request) -> asyncio.Task[Answer]:
        if request["on"] not in self.started:
            raise Fault(f"nothing was started as {request['on']}")
        return self.started[request["on"]]

    async def op_cancel(self, request: Request) -> Answer:
        task = self._task(request)
        if not ASYNC:
            return {"unsupported": UNCANCELLABLE}
        task.cancel()
        return {"ok": {}}

    async def op_await(self, request: Request) -> Answer:
        return await self._task(request)

    async def op_advance(self, request: Request) -> Answer:
        for clock in self.clocks:
            clock.advance(request["seconds"])
        return {"ok": {}}

    async def op_close(self, request: Request) -> Answer:
        for task in self.started.values():
            if ASYNC:
                task.cancel()
            elif not task.done():
                continue  # its thread ends with its timeout
            await asyncio.wait([task])
        closing = [made for made, _ in (*self.clients.values(), *self.verifiers.values())]
        for made in (*closing, *self.https.values()):
            close: Callable[[], Awaitable[None] | None] = made.aclose if ASYNC else made.close
            await self.run(close)
        for name, value in self.variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        kept: dict[str, Any]
        for kept in (
            self.clients,
            self.verifiers,
            self.followers,
            self.https,
            self.started,
            self.variables,
        ):
            kept.clear()
        self.clocks.clear()
        return {"ok": {}}


async def main() -> None:
    driver, loop = Driver(), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        answer = await driver.answer(request)
        slept = [seconds for clock in driver.clocks for seconds in clock.take()]
        answer = {"id": request["id"]} | answer | ({"slept": slept} if slept else {})
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)  # threads that nobody waits for any more must not hold up the end
