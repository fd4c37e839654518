"""An administrator registers an API, and an agent that may read its invoices."""

import os
from pathlib import Path

from marque import APIError, ErrorCode, Marque
from marque.models import DeclaredPermission, RolePermission

with Marque() as client:
    api = client.resource_servers.create(
        identifier="https://invoices.example.com",
        name="invoices",
        permissions=[DeclaredPermission(name="invoices:read")],
    )
    agent = client.service_accounts.create(name="invoice-reader", owner="alice@example.com")

    role = client.roles.create(
        name="invoice-clerk",
        permissions=[RolePermission(resource_server=api.id, permission="invoices:read")],
    )
    client.role_assignments.put(agent.id, role.id)

    secret = client.client_secrets.create(agent.id)
    file = Path(os.environ["AGENT_SECRET_FILE"])
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(secret.client_secret.reveal())

    try:
        client.service_accounts.create(name="invoice-reader", owner="bob@example.com")
    except APIError as error:
        if error.code != ErrorCode.NAME_TAKEN:
            raise

    for account in client.service_accounts.list(kind="agent"):
        print(account.id, account.name)
