"""Marque for Python: sign in, call APIs, protect them.

`Marque` and `AsyncMarque` are clients; `Verifier` and `AsyncVerifier` check tokens;
`marque.asgi` protects Starlette, FastAPI and any other ASGI application; `marque.models` has
what the API answers with. Names load when they are first used, so that a program that only
verifies does not wait for the client, nor one that only calls for `cryptography`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marque._api_key import APIKeyCredential
    from marque._async_client import AsyncMarque
    from marque._auth import AsyncBearerAuth, BearerAuth
    from marque._client import Marque
    from marque._clock import Clock, SystemClock
    from marque._credentials import ClientSecretCredential, Credential
    from marque._errors import (
        APIError,
        AuthenticationError,
        ConfigurationError,
        FieldError,
        InUse,
        InUseItem,
        KeyFetchError,
        MarqueError,
        NetworkError,
        ProtocolError,
        RequestTimeoutError,
        RevocationsStaleError,
        TLSError,
        VerificationError,
    )
    from marque._follower import AsyncRevocationFollower, RevocationFollower
    from marque._generated.errors import ErrorCode
    from marque._hooks import Attempt, Hooks
    from marque._model import Model, response_of
    from marque._operation import RequestOptions
    from marque._page import AsyncPager, Page, Pager
    from marque._response import Response
    from marque._secret import Secret
    from marque._settings import RefreshWindows
    from marque._tokens import Token
    from marque._unset import UNSET, Unset
    from marque._verify.claims import Principal
    from marque._verify.following import FollowerState
    from marque._verify.verifier import AsyncVerifier, Revocations, Verifier
    from marque._version import __version__

_HOME = {
    "_api_key": ("APIKeyCredential",),
    "_auth": ("AsyncBearerAuth", "BearerAuth"),
    "_async_client": ("AsyncMarque",),
    "_client": ("Marque",),
    "_clock": ("Clock", "SystemClock"),
    "_credentials": ("ClientSecretCredential", "Credential"),
    "_errors": (
        "APIError",
        "AuthenticationError",
        "ConfigurationError",
        "FieldError",
        "InUse",
        "InUseItem",
        "KeyFetchError",
        "MarqueError",
        "NetworkError",
        "ProtocolError",
        "RequestTimeoutError",
        "RevocationsStaleError",
        "TLSError",
        "VerificationError",
    ),
    "_follower": ("AsyncRevocationFollower", "RevocationFollower"),
    "_generated.errors": ("ErrorCode",),
    "_hooks": ("Attempt", "Hooks"),
    "_model": ("Model", "response_of"),
    "_operation": ("RequestOptions",),
    "_page": ("AsyncPager", "Page", "Pager"),
    "_response": ("Response",),
    "_secret": ("Secret",),
    "_settings": ("RefreshWindows",),
    "_tokens": ("Token",),
    "_unset": ("UNSET", "Unset"),
    "_verify.claims": ("Principal",),
    "_verify.following": ("FollowerState",),
    "_verify.verifier": ("AsyncVerifier", "Revocations", "Verifier"),
    "_version": ("__version__",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "UNSET",
    "APIError",
    "APIKeyCredential",
    "AsyncBearerAuth",
    "AsyncMarque",
    "AsyncPager",
    "AsyncRevocationFollower",
    "AsyncVerifier",
    "Attempt",
    "AuthenticationError",
    "BearerAuth",
    "ClientSecretCredential",
    "Clock",
    "ConfigurationError",
    "Credential",
    "ErrorCode",
    "FieldError",
    "FollowerState",
    "Hooks",
    "InUse",
    "InUseItem",
    "KeyFetchError",
    "Marque",
    "MarqueError",
    "Model",
    "NetworkError",
    "Page",
    "Pager",
    "Principal",
    "ProtocolError",
    "RefreshWindows",
    "RequestOptions",
    "RequestTimeoutError",
    "Response",
    "RevocationFollower",
    "Revocations",
    "RevocationsStaleError",
    "Secret",
    "SystemClock",
    "TLSError",
    "Token",
    "Unset",
    "VerificationError",
    "Verifier",
    "__version__",
    "response_of",
]


def __getattr__(name: str) -> object:
    if (module := _MODULE_OF.get(name)) is None:
        raise AttributeError(f"module 'marque' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"marque.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
