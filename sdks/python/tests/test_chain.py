"""Where issuer and credential come from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from marque import AsyncMarque, ClientSecretCredential, ConfigurationError, Marque, Secret
from tests.fakes import CLIENT_ID, ISSUER, Server

SECRET = "mqs_sourced"
OTHER = "https://other.example.com"


def write_profile(config: Any, mode: int = 0o600) -> Path:
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "marque" / "config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    path.chmod(mode)
    return path


def profile(**members: str) -> dict[str, Any]:
    (Path(os.environ["XDG_CONFIG_HOME"]) / "marque").mkdir(parents=True, exist_ok=True)
    secret = Path(os.environ["XDG_CONFIG_HOME"]) / "marque" / "secret"
    secret.write_text(SECRET)
    known = {"issuer": ISSUER, "client_id": "sa_profile", "client_secret_file": "secret"}
    return {"current": "dev", "profiles": {"dev": known | members}}


def used(server: Server, **options: Any) -> tuple[str, str]:
    """The issuer and the client that a token is asked of and for."""
    with Marque(http_client=server.http(), **options) as client:
        client.token()
        credential = client._tokens._credential
        assert isinstance(credential, ClientSecretCredential)
        return client.issuer, credential.client_id


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("MARQUE_ISSUER", ISSUER)
    monkeypatch.setenv("MARQUE_CLIENT_ID", "sa_environment")
    monkeypatch.setenv("MARQUE_CLIENT_SECRET", SECRET)
    return monkeypatch


def test_the_constructor_comes_first(environment: Any, server: Server) -> None:
    write_profile(profile())
    found = used(server, issuer=OTHER, client_id="sa_given", client_secret=Secret("s"))
    assert found == (OTHER, "sa_given")


def test_then_the_environment(environment: Any, server: Server) -> None:
    write_profile(profile())
    assert used(server) == (ISSUER, "sa_environment")


def test_then_the_profile(server: Server) -> None:
    write_profile(profile())
    assert used(server) == (ISSUER, "sa_profile")


def test_a_profile_may_be_named(environment: Any, server: Server) -> None:
    config = profile()
    config["profiles"]["prod"] = config["profiles"]["dev"] | {"issuer": OTHER}
    write_profile(config)
    assert used(server, profile="prod") == (OTHER, "sa_profile")
    environment.setenv("MARQUE_PROFILE", "prod")
    assert used(server) == (ISSUER, "sa_environment"), "the environment's own settings come first"
    for name in ("MARQUE_ISSUER", "MARQUE_CLIENT_ID", "MARQUE_CLIENT_SECRET"):
        environment.delenv(name)
    assert used(server) == (OTHER, "sa_profile")
    with pytest.raises(ConfigurationError, match=r"no profile 'x' in .*has: dev, prod"):
        Marque(profile="x")


def test_the_secret_may_be_in_a_file(environment: Any, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    environment.delenv("MARQUE_CLIENT_SECRET")
    environment.setenv("MARQUE_CLIENT_SECRET_FILE", str(file))
    assert used(server) == (ISSUER, "sa_environment")


def test_a_variable_set_to_nothing_is_not_set(environment: Any, server: Server) -> None:
    write_profile(profile())
    for name in ("MARQUE_CLIENT_ID", "MARQUE_CLIENT_SECRET", "MARQUE_ISSUER", "MARQUE_CA_FILE"):
        environment.setenv(name, "")
    assert used(server) == (ISSUER, "sa_profile")


@pytest.mark.parametrize("sort", [Marque, AsyncMarque])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"client_id": "a"}, "client_id is set, but neither client_secret nor client_secret_file"),
        ({"client_secret": "a"}, "the constructor has a secret but no client_id"),
        (
            {"client_id": "a", "client_secret": "b", "client_secret_file": "c"},
            "client_secret and client_secret_file are both set",
        ),
        ({"client_id": "", "client_secret": "b"}, "client id from the constructor is empty"),
        ({"client_id": "a", "client_secret": ""}, "client secret from the constructor is empty"),
        ({"timeout": 0}, "timeout must be"),
        ({"token_timeout": -1}, "token_timeout must be"),
        ({"retries": -1}, "retries must be"),
        ({"ca_file": "/no/such/file"}, "CA file /no/such/file is of no use: No such file"),
        ({"ca_file": __file__}, "holds no certificate in PEM form"),
    ],
)
def test_half_a_setting_is_an_error(sort: Any, options: dict[str, Any], says: str) -> None:
    whole = {} if "client" in says else {"client_id": "a", "client_secret": "b"}
    with pytest.raises(ConfigurationError, match=says):
        sort(ISSUER, **whole | options)


@pytest.mark.parametrize(
    "issuer",
    [
        "http://auth.example.com", "auth.example.com", "https://", "https://a?b=c", "https://a#b",
        "https://a?", "https://u:p@a", "ftp://a", "https://a:99999", "https://[::1", "",
        "https://a b",
    ],
)  # fmt: skip
def test_a_wrong_issuer_is_told_at_once(issuer: str, server: Server) -> None:
    with pytest.raises(ConfigurationError, match="issuer"):
        Marque(issuer, http_client=server.http())


def test_without_a_credential_each_source_that_was_tried_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARQUE_KEY_FILE", "/the/key.pem")
    with pytest.raises(ConfigurationError) as caught:
        Marque(ISSUER, http_client=server.http())
    text = str(caught.value)
    for part in (
        f"no credential for {ISSUER}",
        "the constructor: no client_id and no api_key",
        "the environment: no MARQUE_CLIENT_ID, no MARQUE_API_KEY_FILE and no MARQUE_API_KEY",
        "MARQUE_KEY_FILE: this version signs in by client secret or API key alone",
        "config.json",
    ):
        assert part in text
    assert server.requests == []


def test_a_profiles_secret_is_for_its_own_issuer(server: Server) -> None:
    write_profile(profile())
    with pytest.raises(ConfigurationError, match=f"is for another issuer, {ISSUER}"):
        Marque(OTHER, http_client=server.http())
    assert used(server, issuer=ISSUER + "/")[1] == "sa_profile"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_profile_that_others_can_read_is_refused(mode: int) -> None:
    path = write_profile(profile(), mode)
    with pytest.raises(ConfigurationError, match=f"open to others .*chmod 600 {path}"):
        Marque()


@pytest.mark.parametrize(
    "config",
    ["", "[]", "{", "null", "{}", '{"current":"dev"}', '{"current":1,"profiles":{}}',
     '{"current":"dev","profiles":{"dev":1}}', '{"current":"dev","profiles":{"dev":{"issuer":1}}}'],
)  # fmt: skip
def test_a_broken_profile_is_told_with_its_path(config: str) -> None:
    path = write_profile(config)
    with pytest.raises(ConfigurationError, match=str(path)):
        Marque()


def test_a_profile_that_signs_in_another_way_says_so(server: Server) -> None:
    write_profile({"current": "dev", "profiles": {"dev": {"issuer": ISSUER, "key_file": "k"}}})
    with pytest.raises(ConfigurationError, match="has key_file, but this version"):
        used(server)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"a\nb", b"x" * 70_000])
def test_a_secret_file_of_no_use_is_told(tmp_path: Path, server: Server, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=str(file)):
        used(server, issuer=ISSUER, client_id=CLIENT_ID, client_secret_file=file)
