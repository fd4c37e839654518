"""What generated code says about an operation, and what a caller may say about one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypedDict

from marque._response import Response

Auth = Literal["bearer", "client", "none"]


class Operation(NamedTuple):
    """One operation of the contract; a constant of `marque._generated.operations`."""

    id: str
    """As in the contract: `service_accounts.create`."""
    method: str
    path: str
    """A template below the issuer: `/v1/service-accounts/{service_account_id}`."""
    auth: Auth = "bearer"
    """`bearer`: a token for the management API; `client`: the client's own credential."""
    idempotent: bool = False
    """Whether it may be sent again when it is not known what became of it."""
    content_type: str | None = None
    """Of the request body; `None` where there is none."""
    token_endpoint: bool = False
    """Whether it gives or judges tokens: the shorter timeout holds."""


class RequestOptions(TypedDict, total=False):
    """What every method takes besides its own parameters, for this call alone."""

    timeout: float
    """Seconds that each attempt may take, the wait for a token included."""
    retries: int
    """How many attempts may follow a failed one; 0 for none."""
    headers: Mapping[str, str]
    """Further headers to send. `Authorization` is not among those that may be set."""
    idempotency_key: str
    """The `Idempotency-Key` of the call, where the operation is idempotent; made up when absent."""
    on_response: Callable[[Response], None]
    """Is given the answer as it came, before it is decoded: for what a decoded one has not, such
    as the request id of a deletion."""
