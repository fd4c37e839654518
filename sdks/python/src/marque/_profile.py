"""Profile files: what the clients of a user share, in JSON, for the owner's eyes alone."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from marque._errors import ConfigurationError

_LONGEST = 256 << 10


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile of the file."""

    name: str
    path: Path
    issuer: str | None = None
    ca_file: Path | None = None
    client_id: str | None = None
    client_secret_file: Path | None = None
    api_key_file: Path | None = None
    unsupported: tuple[str, ...] = ()
    """Members that name a way to sign in which this version does not know."""

    @property
    def source(self) -> str:
        """How errors call it."""
        return f"profile {self.name!r} in {self.path}"


def profile_path(environment: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/marque/config.json`, below `~/.config` when that is not set."""
    base = environment.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "marque" / "config.json"


def read_profile(path: Path, name: str | None) -> Profile | None:
    """The profile of that name, else the current one; `None` where there is no file."""
    data = _read(path)
    if data is None:
        return None
    profiles = data.get("profiles")
    chosen = name if name is not None else data.get("current")
    if not isinstance(profiles, Mapping) or not isinstance(chosen, str):
        raise ConfigurationError(f"{path} must have an object profiles, and current that names one")
    found = cast("Mapping[str, Any]", profiles).get(chosen)
    if not isinstance(found, Mapping):
        known = ", ".join(sorted(cast("Mapping[str, Any]", profiles))) or "none"
        raise ConfigurationError(f"there is no profile {chosen!r} in {path}, which has: {known}")
    members = cast("Mapping[str, Any]", found)

    def text(member: str) -> str | None:
        value = members.get(member)
        if value is not None and (not isinstance(value, str) or not value):
            raise ConfigurationError(f"{member} of profile {chosen!r} in {path} must be a string")
        return value

    def file(member: str) -> Path | None:
        value = text(member)
        # Relative to the profile, not to wherever the program happens to run.
        return None if value is None else path.parent / Path(value).expanduser()

    return Profile(
        chosen,
        path,
        text("issuer"),
        file("ca_file"),
        text("client_id"),
        file("client_secret_file"),
        file("api_key_file"),
        tuple(member for member in ("key_file",) if members.get(member)),
    )


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        with path.open("rb") as file:
            # On the open file, so that it cannot be another one by the time it is read.
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LONGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise ConfigurationError(
                f"{path} is open to others (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}"
            )
        try:
            data: Any = json.loads(content) if len(content) <= _LONGEST else None
        except (ValueError, RecursionError):
            data = None
        if isinstance(data, Mapping):
            return cast("Mapping[str, Any]", data)
        reason = "it is not a JSON object"
    raise ConfigurationError(f"the profile file {path} is of no use: {reason}")
