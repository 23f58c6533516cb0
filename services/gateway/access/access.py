"""Who are you? One answer for REST and gRPC."""

from __future__ import annotations

from typing import Protocol

from rag.runtime.access import OPERATOR_SCOPES, Identity


class Access(Protocol):
    """Tells who a caller is."""

    async def identify(self, authorization: str, address: str) -> Identity:
        """Return who calls, by the `Authorization` that came along and the address it came from.

        Raises:
            Unauthenticated: without a credential, or with a bad one.
            Overloaded: after too many bad ones from one address.
            Unavailable: when nobody can tell now.
        """
        ...


class Anybody:
    """Access while authentication is off: whoever reaches the port is the one tenant, and its operator.

    Args:
        tenant: Who everybody is.
    """

    def __init__(self, tenant: str) -> None:
        self._identity = Identity(tenant, OPERATOR_SCOPES, "anybody")

    async def identify(self, _authorization: str, _address: str) -> Identity:
        """Return the same for all."""
        return self._identity
