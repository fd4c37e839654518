"""Against a running server: its examples, and what only the real one can show.

The binary is the one that MARQUE_BINARY names, else bin/marque of the repository.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from marque import (
    APIError,
    AsyncMarque,
    AsyncVerifier,
    ErrorCode,
    Marque,
    TLSError,
    VerificationError,
    Verifier,
    response_of,
)

HERE = Path(__file__).resolve().parents[1]
EXAMPLES = HERE / "examples"
BINARY = Path(os.environ.get("MARQUE_BINARY", HERE.parents[1] / "bin" / "marque"))
MANAGEMENT = "urn:marque:management"

pytestmark = [
    pytest.mark.skipif(not BINARY.is_file(), reason=f"no {BINARY}: make build makes it"),
    pytest.mark.xdist_group("live"),
]


def read_until(stream: Any, pattern: str) -> str:
    for line in stream:
        if found := re.search(pattern, line):
            return found.group(1)
    raise AssertionError(f"ended without saying {pattern}")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a development server, which ends with the tests."""
    folder = tmp_path_factory.mktemp("marque")
    env = {k: v for k, v in os.environ.items() if not k.startswith("MARQUE_")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(BINARY), "serve", "--dev", "--data-dir", str(folder), "--listen", "127.0.0.1:0"],
            env=env | {"MARQUE_OPERATIONS_LISTEN": "off"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        read_until(process.stdout, "serving (https://.*?) ")
        yield folder
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def admin(installation: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Marque]:
    """The administrator, from the profile that the server has written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(installation))
    with Marque() as client:
        yield client


def run_example(name: str, env: dict[str, str]) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MARQUE_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=kept | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_tell_one_story(installation: Path, admin: Marque, tmp_path: Path) -> None:
    """An administrator registers an agent, which calls a protected API and rotates its secret."""
    secret_file = tmp_path / "secret"
    listed = run_example(
        "register_agent.py",
        {"XDG_CONFIG_HOME": str(installation), "AGENT_SECRET_FILE": str(secret_file)},
    )
    agent_id = next(line.split()[0] for line in listed.splitlines() if "invoice-reader" in line)
    management = next(iter(admin.resource_servers.list(identifier=MANAGEMENT)))
    rotator = admin.roles.create(
        name="secret-rotator",
        permissions=[rotation(management.id)],
    )
    admin.role_assignments.put(agent_id, rotator.id)

    verifier_env = {"MARQUE_ISSUER": admin.issuer, "MARQUE_CA_FILE": str(installation / "ca.pem")}
    agent_env = verifier_env | {
        "MARQUE_CLIENT_ID": agent_id,
        "MARQUE_CLIENT_SECRET_FILE": str(secret_file),
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MARQUE_", "XDG_"))}
    api = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0",
         "protect_api:app"],
        env=kept | verifier_env,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        url = read_until(api.stderr, r"running on (http://[0-9.:]+)")
        agent_env["INVOICES_URL"] = url
        assert run_example("call_api.py", agent_env) == f"{{'invoices of': '{agent_id}'}}\n"
        assert run_example("call_api_async.py", agent_env) == f"{[200] * 10}\n"
        assert httpx.get(url + "/invoices").status_code == 401

        key_file = tmp_path / "key"
        key_file.write_text(
            admin.api_keys.create(agent_id, name="the example").api_key.reveal() + "\n"
        )
        by_key = verifier_env | {"INVOICES_URL": url, "AGENT_KEY_FILE": str(key_file)}
        assert agent_id in run_example("sign_in_with_api_key.py", by_key)
        by_variable = verifier_env | {"INVOICES_URL": url, "MARQUE_API_KEY_FILE": str(key_file)}
        assert agent_id in run_example("call_api.py", by_variable)

        before = secret_file.read_text()
        assert "now ends with" in run_example("rotate_secret.py", agent_env)
        assert secret_file.read_text() != before
        assert secret_file.stat().st_mode & 0o777 == 0o600
        assert agent_id in run_example("call_api.py", agent_env)
    finally:
        api.terminate()
        api.communicate(timeout=20)


def rotation(resource_server: str) -> Any:
    from marque.models import RolePermission

    return RolePermission(resource_server=resource_server, permission="credentials:write")


def test_the_quickstart_is_taken_from_the_examples() -> None:
    readme = (HERE / "README.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    examples = [path.read_text("utf-8") for path in EXAMPLES.glob("*.py")]
    assert len(blocks) >= 4
    for block in blocks:
        levels = [textwrap.indent(block, " " * width) for width in (0, 4)]
        found = any(level in example for example in examples for level in levels)
        assert found, f"in no example:\n{block}"


def test_a_change_needs_the_version_that_was_read(admin: Marque) -> None:
    account = admin.service_accounts.create(name="versions", owner="a@example.com")
    response = response_of(account)
    assert response is not None
    assert response.etag is not None
    changed = admin.service_accounts.update(account.id, if_match=response.etag, owner="b@example")
    assert changed.owner == "b@example"
    with pytest.raises(APIError) as caught:
        admin.service_accounts.update(account.id, if_match=response.etag, owner="c@example")
    assert caught.value.code == ErrorCode.PRECONDITION_FAILED
    admin.service_accounts.delete(account.id)


def test_asyncio_does_the_same(installation: Path, admin: Marque) -> None:
    async def run() -> None:
        async with AsyncMarque() as client:
            names = [a.name async for a in client.service_accounts.list(page_size=1)]
            assert "administrator" in names
            me = await client.whoami.get()
            assert me.service_account.name == "administrator"

    asyncio.run(run())


def test_a_token_is_verified_locally_until_it_is_asked_about(admin: Marque) -> None:
    token = admin.token(resource=MANAGEMENT, scopes=["audit:read"]).access_token.reveal()
    with Verifier() as verifier:
        who = verifier.verify(token, audience=MANAGEMENT, scopes=["audit:read"])
        assert who.scopes == ("audit:read",)
        with pytest.raises(VerificationError, match="lacks roles:write"):
            verifier.verify(token, audience=MANAGEMENT, scopes=["roles:write"])

        async def run() -> None:
            async with AsyncVerifier() as other:
                assert (await other.verify(token, audience=MANAGEMENT)).token_id == who.token_id

        asyncio.run(run())
        assert admin.tokens.introspect(token=token).active
        admin.tokens.revoke(token=token)
        assert not admin.tokens.introspect(token=token).active


def test_a_token_that_is_stopped_is_refused_at_once(installation: Path) -> None:
    said = run_example("stop_at_once.py", {"XDG_CONFIG_HOME": str(installation)})
    found = re.fullmatch(r"after ([0-9.]+) s: revoked\n", said)
    assert found, said
    assert float(found.group(1)) < 1


def test_asyncio_follows_too(installation: Path, admin: Marque) -> None:
    async def run() -> str:
        async with AsyncMarque() as client:
            followed = client.follow_revocations()
            await followed.wait_ready()
            async with AsyncVerifier(revocations=followed) as verifier:
                token = await client.token(resource=MANAGEMENT, scopes=["roles:read"])
                text = token.access_token.reveal()
                await verifier.verify(text, audience=MANAGEMENT)
                await client.revocations.create(token=text)
                for _ in range(1000):
                    try:
                        await verifier.verify(text, audience=MANAGEMENT)
                    except VerificationError as error:
                        return error.reason
                    await asyncio.sleep(0.001)
                return "accepted"

    assert asyncio.run(run()) == "revoked"


def test_without_the_ca_file_the_error_names_it(
    installation: Path, monkeypatch: pytest.MonkeyPatch, admin: Marque
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    with (
        Marque(admin.issuer, client_id="sa_1", client_secret="mqs_1") as client,
        pytest.raises(TLSError, match=r"MARQUE_CA_FILE .*ca\.pem"),
    ):
        client.whoami.get()
