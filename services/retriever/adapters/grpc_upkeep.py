"""Calls to other services about a document that is deleted: on behalf of its tenant, with or without a caller."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rag.ids import new_id
from rag.runtime.context import CallContext, bound, current, remaining_s

_CALL_S = 5.0


@contextmanager
def on_behalf_of(tenant: str) -> Iterator[None]:
    """Make the calls of this block for a tenant, for five seconds at most."""
    deadline = time.monotonic() + min(remaining_s(_CALL_S), _CALL_S)
    with bound(CallContext(_request_id(), tenant, deadline)):
        yield


def _request_id() -> str:
    try:
        return current().request_id
    except LookupError:  # the work of no caller
        return new_id("req")
