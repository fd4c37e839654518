"""Protects a WSGI application (PEP 3333: Flask, Django, Pyramid) with tokens.

    app.wsgi_app = BearerMiddleware(app.wsgi_app, verifier=Verifier(), audience="https://api.example.com")

It answers as `marque.asgi` does. Inside, `principal(request.environ)` tells who calls, and
`require(request.environ, "invoices:write")` refuses who may not, where the framework lets
exceptions through; where it answers them itself, have it answer `VerificationError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from marque._errors import ConfigurationError
from marque._refusal import REFUSALS, refusal_of, token_of
from marque._verify.claims import Principal, check_scopes
from marque._verify.verifier import Verifier

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_KEY: Final = "marque.principal"


class BearerMiddleware:
    """Lets through what carries a good token."""

    def __init__(
        self,
        app: Application,
        *,
        verifier: Verifier,
        audience: str,
        scopes: Iterable[str] = (),
        exempt: Sequence[str] = (),
    ) -> None:
        """As with `marque.asgi.BearerMiddleware`."""
        if not audience:
            raise ConfigurationError("the audience is empty: name your API's identifier")
        self._app = app
        self._verifier = verifier
        self._audience = audience
        self._scopes = tuple(scopes.split() if isinstance(scopes, str) else scopes)
        self._exempt = frozenset(exempt)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in self._exempt:
            return self._app(environ, start_response)
        try:
            given = environ.get("HTTP_AUTHORIZATION")
            token = token_of([given] if given else [], environ.get("QUERY_STRING", ""))
            environ[_KEY] = self._verifier.verify(
                token, audience=self._audience, scopes=self._scopes
            )
            return self._app(environ, start_response)
        except REFUSALS as error:
            answer = refusal_of(error)
        start_response(f"{answer.status} {answer.title}", answer.headers)
        return [answer.body]


def principal(environ: Mapping[str, Any]) -> Principal:
    """Who calls: of the environment of a request behind `BearerMiddleware`."""
    found = environ.get(_KEY)
    if not isinstance(found, Principal):
        raise ConfigurationError(
            "nobody has verified a token for this request: add BearerMiddleware, and take the "
            "path out of its exempt ones"
        )
    return found


def require(environ: Mapping[str, Any], *scopes: str) -> Principal:
    """Who calls, if the token has these permissions; else `BearerMiddleware` answers 403."""
    found = principal(environ)
    check_scopes(found, scopes)
    return found
