"""The seam between generated code and what is written by hand."""

from __future__ import annotations

from typing import Any

from marque._answer import no_content
from marque._model import Model, Wire, format_time, parse_time
from marque._operation import Operation, RequestOptions
from marque._page import AsyncPager, Page, Pager
from marque._secret import Secret
from marque._transport import AsyncTransport, Transport
from marque._unset import UNSET, Unset

JSON = Any
"""A JSON value."""

__all__ = [
    "JSON",
    "UNSET",
    "AsyncPager",
    "AsyncTransport",
    "Model",
    "Operation",
    "Page",
    "Pager",
    "RequestOptions",
    "Secret",
    "Transport",
    "Unset",
    "Wire",
    "format_time",
    "no_content",
    "parse_time",
]
