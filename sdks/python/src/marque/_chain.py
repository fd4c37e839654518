"""Where issuer and credential come from: the constructor, else the environment, else a profile.

The first source that has a credential gives it. A half of one is an error, not a reason to
look further: whoever set a client id meant that client. Nothing is asked over the network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from marque._api_key import APIKeyCredential
from marque._credentials import ClientSecretCredential, Credential
from marque._errors import ConfigurationError
from marque._profile import Profile, profile_path, read_profile
from marque._secret import Secret
from marque._settings import check_issuer

_NOT_BY_KEY = "this version signs in by client secret or API key alone"

SignIn = Credential | APIKeyCredential
"""By what a client signs in."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the constructor was given."""

    issuer: str | None = None
    client_id: str | None = None
    client_secret: str | Secret | None = None
    client_secret_file: str | os.PathLike[str] | None = None
    api_key: str | Secret | None = None
    api_key_file: str | os.PathLike[str] | None = None
    credential: SignIn | None = None
    ca_file: str | os.PathLike[str] | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is in force."""

    issuer: str
    ca_file: Path | None
    credential: SignIn | None
    tried: str
    """Where a credential was looked for, for the error where there is none."""


def resolve(given: Given, environment: Mapping[str, str]) -> Resolved:
    """Goes along the chain. Without a credential: an error of a client, none of a verifier."""
    # A profile that the constructor names is meant: the environment has no say then.
    env: Mapping[str, str] = {} if given.profile is not None else environment
    name = given.profile or env.get("MARQUE_PROFILE") or None
    path = profile_path(environment)

    credential = _from_constructor(given) or _from_environment(env)
    issuer = given.issuer or env.get("MARQUE_ISSUER") or None
    source = "the constructor" if given.issuer else "MARQUE_ISSUER"
    ca_file = given.ca_file or env.get("MARQUE_CA_FILE") or None

    profile = None
    if issuer is None or credential is None or name is not None:
        profile = read_profile(path, name)
        if profile is None and name is not None:
            raise ConfigurationError(f"profile {name!r} is asked for, but there is no file {path}")
    if issuer is None and profile is not None:
        issuer, source = profile.issuer, profile.source
    if issuer is None:
        raise ConfigurationError(
            "no issuer: give it to the constructor, or in MARQUE_ISSUER, or in a profile in "
            f"{path}" + ("" if profile is None else f" ({profile.source} has none)")
        )
    check_issuer(issuer, source)

    tried = ["the constructor: no client_id and no api_key", *_tried_environment(env, given)]
    if profile is not None and profile.issuer is not None:
        if profile.issuer.rstrip("/") != issuer.rstrip("/"):
            # Its secret is that issuer's, and no other one may get to see it.
            tried.append(f"{profile.source}: is for another issuer, {profile.issuer}")
        else:
            credential = credential or _from_profile(profile)
            ca_file = ca_file or profile.ca_file
            tried.append(_tried_profile(profile))
    elif profile is not None:
        tried.append(f"{profile.source}: has no issuer")
    else:
        tried.append(f"profile: there is no file {path}")
    return Resolved(issuer, Path(ca_file) if ca_file else None, credential, "; ".join(tried))


def _one_secret(
    client_id: str | None,
    secret: str | Secret | None,
    file: str | os.PathLike[str] | None,
    source: str,
    names: tuple[str, str, str],
) -> Credential | None:
    if client_id is None and secret is None and file is None:
        return None
    if secret is not None and file is not None:
        raise ConfigurationError(f"{names[1]} and {names[2]} are both set: keep one of them")
    if client_id is None:
        raise ConfigurationError(f"{source} has a secret but no {names[0]}: set it too")
    if file is not None:
        return ClientSecretCredential(client_id, Path(file), source=f"{source} ({names[2]})")
    if secret is None:
        raise ConfigurationError(f"{names[0]} is set, but neither {names[1]} nor {names[2]} is")
    return ClientSecretCredential(client_id, secret, source=source)


def _one_key(
    key: str | Secret | None,
    file: str | os.PathLike[str] | None,
    source: str,
    names: tuple[str, str],
) -> APIKeyCredential | None:
    if key is not None and file is not None:
        raise ConfigurationError(f"{names[0]} and {names[1]} are both set: keep one of them")
    if file is not None:
        return APIKeyCredential(Path(file), source=f"{source} ({names[1]})")
    return None if key is None else APIKeyCredential(key, source=f"{source} ({names[0]})")


def _only_one_way(source: str, *ways: Mapping[str, object]) -> None:
    """Refuses settings of two ways to sign in: which of them is meant nobody knows."""
    named = [next(iter(way)) for way in (_set(way) for way in ways) if way]
    if len(named) > 1:
        raise ConfigurationError(
            f"{source} has {' and '.join(named)}, which are {len(named)} ways to sign in: "
            "keep one of them"
        )


def _set(way: Mapping[str, object]) -> Mapping[str, object]:
    return {name: value for name, value in way.items() if value is not None}


def _from_constructor(given: Given) -> SignIn | None:
    _only_one_way(
        "the constructor",
        {"credential": given.credential},
        {
            "client_id": given.client_id,
            "client_secret": given.client_secret,
            "client_secret_file": given.client_secret_file,
        },
        {"api_key": given.api_key, "api_key_file": given.api_key_file},
    )
    return (
        given.credential
        or _one_secret(
            given.client_id,
            given.client_secret,
            given.client_secret_file,
            "the constructor",
            ("client_id", "client_secret", "client_secret_file"),
        )
        or _one_key(
            given.api_key, given.api_key_file, "the constructor", ("api_key", "api_key_file")
        )
    )


def _from_environment(env: Mapping[str, str]) -> SignIn | None:
    # Set to nothing is as good as not set: that is how many platforms unset a variable.
    secret_names = ("MARQUE_CLIENT_ID", "MARQUE_CLIENT_SECRET", "MARQUE_CLIENT_SECRET_FILE")
    key_names = ("MARQUE_API_KEY", "MARQUE_API_KEY_FILE")
    client_id, secret, file = (env.get(name) or None for name in secret_names)
    key = Secret(env["MARQUE_API_KEY"]) if env.get("MARQUE_API_KEY") else None
    key_file = env.get("MARQUE_API_KEY_FILE") or None
    _only_one_way(
        "the environment",
        dict(zip(secret_names, (client_id, secret, file), strict=True)),
        dict(zip(key_names, (key, key_file), strict=True)),
    )
    return _one_secret(client_id, secret, file, "the environment", secret_names) or _one_key(
        key, key_file, "the environment", key_names
    )


def _from_profile(profile: Profile) -> SignIn | None:
    _only_one_way(
        profile.source,
        {"client_id": profile.client_id, "client_secret_file": profile.client_secret_file},
        {"api_key_file": profile.api_key_file},
    )
    if profile.api_key_file is not None:
        return APIKeyCredential(profile.api_key_file, source=profile.source)
    if profile.client_id is None or profile.client_secret_file is None:
        return None
    return ClientSecretCredential(
        profile.client_id, profile.client_secret_file, source=profile.source
    )


def _tried_environment(env: Mapping[str, str], given: Given) -> list[str]:
    if given.profile is not None:
        return ["the environment: not looked at, since the constructor names a profile"]
    none = "the environment: no MARQUE_CLIENT_ID, no MARQUE_API_KEY_FILE and no MARQUE_API_KEY"
    return [none] + ([f"MARQUE_KEY_FILE: {_NOT_BY_KEY}"] if env.get("MARQUE_KEY_FILE") else [])


def _tried_profile(profile: Profile) -> str:
    if profile.unsupported:
        return f"{profile.source}: has {profile.unsupported[0]}, but {_NOT_BY_KEY}"
    return f"{profile.source}: has not both client_id and client_secret_file, and no api_key_file"


def resolve_client(
    issuer: str | None,
    client_id: str | None,
    client_secret: str | Secret | None,
    client_secret_file: str | os.PathLike[str] | None,
    api_key: str | Secret | None,
    api_key_file: str | os.PathLike[str] | None,
    credential: SignIn | None,
    ca_file: str | os.PathLike[str] | None,
    profile: str | None,
) -> tuple[Resolved, SignIn]:
    """Goes along the chain with what the constructor of a client was given."""
    found = resolve(
        Given(
            issuer=issuer,
            client_id=client_id,
            client_secret=None if client_secret is None else Secret(client_secret),
            client_secret_file=client_secret_file,
            api_key=None if api_key is None else Secret(api_key),
            api_key_file=api_key_file,
            credential=credential,
            ca_file=ca_file,
            profile=profile,
        ),
        os.environ,
    )
    if found.credential is None:
        raise ConfigurationError(f"no credential for {found.issuer}; tried {found.tried}")
    return found, found.credential
