"""The story of one agent by the Python SDK.

The administrator comes from a profile: start `make run` in one terminal, and in another

    XDG_CONFIG_HOME=.marque sdks/python/.venv/bin/python conformance/demo/sdk/python/main.py

In a project of yours: `pip install marque-sdk fastapi uvicorn`.
"""

import socket
import threading
from contextlib import ExitStack

import httpx
import uvicorn
from fastapi import FastAPI, Request

from marque import AsyncVerifier, AuthenticationError, Marque, Secret
from marque.asgi import BearerMiddleware, require
from marque.models import DeclaredPermission, RolePermission

AUDIENCE = "https://orders.example.com"

# The API. It checks tokens by itself, with the published keys.
app = FastAPI()
app.add_middleware(BearerMiddleware, verifier=AsyncVerifier(), audience=AUDIENCE)


@app.get("/orders")
def read_orders(request: Request) -> str:
    return f"orders for {require(request, 'orders:read').subject}"


@app.post("/orders")
def write_orders(request: Request) -> str:
    return f"an order by {require(request, 'orders:write').subject}"


def serve() -> str:
    """Starts the API in a thread; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/orders"


def call(agent: Marque, method: str, url: str) -> None:
    """Sends a request of the agent, which carries a token for the API."""
    answer = httpx.request(method, url, auth=agent.auth(resource=AUDIENCE))
    text = answer.json() if answer.is_success else answer.json()["code"]
    say("agent", f"{method} /orders: {answer.status_code} {text}")


def say(who: str, text: str) -> None:
    print(f"{who:9} {text}", flush=True)  # noqa: T201


def story(operator: Marque, undo: ExitStack) -> None:
    say("operator", f"is {operator.whoami.get().service_account.name}")

    api = operator.resource_servers.create(
        identifier=AUDIENCE,
        name="orders",
        permissions=[
            DeclaredPermission(name="orders:read"),
            DeclaredPermission(name="orders:write"),
        ],
    )
    undo.callback(operator.resource_servers.delete, api.id)
    say("operator", f"registers the API {api.identifier}")

    reading = RolePermission(resource_server=api.id, permission="orders:read")
    role = operator.roles.create(name="orders-reader", permissions=[reading])
    undo.callback(operator.roles.delete, role.id)
    account = operator.service_accounts.create(name="orders-agent", owner="alice@example.com")
    undo.callback(operator.service_accounts.delete, account.id)
    operator.role_assignments.put(account.id, role.id)
    secret = operator.client_secrets.create(account.id).client_secret
    say("operator", f"registers {account.name}, whose role {role.name} gives it orders:read")

    def sign_in(secret: Secret) -> Marque:
        """The client of the agent. It asks for a token when it needs one."""
        return undo.enter_context(Marque(client_id=account.id, client_secret=secret))

    url = serve()
    agent = sign_in(secret)
    call(agent, "GET", url)
    call(agent, "POST", url)

    secret = operator.client_secrets.rotate(account.id, overlap=0).client_secret
    say("operator", "rotates the secret of the agent, and the agent signs in with the new one")
    agent = sign_in(secret)
    call(agent, "GET", url)

    token = agent.token(resource=AUDIENCE).access_token
    active = operator.tokens.introspect(token=token).active
    say("operator", f"asks about the token of the agent: active {str(active).lower()}")
    operator.tokens.revoke(token=token)
    active = operator.tokens.introspect(token=token).active
    say("operator", f"revokes it: active {str(active).lower()}")

    account = operator.service_accounts.disable(account.id)
    say("operator", f"stops the agent: {account.status}")
    try:
        sign_in(secret).token(resource=AUDIENCE)
    except AuthenticationError as error:
        say("agent", f"gets no token: {error.kind} error, {error.status} {error.code}")


if __name__ == "__main__":
    with Marque() as operator, ExitStack() as undo:
        story(operator, undo)
