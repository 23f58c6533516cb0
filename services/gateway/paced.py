"""Access at a pace: who calls is found, and refused before anything of the call is read when it comes too fast."""

from __future__ import annotations

from rag.runtime.access import Identity
from services.gateway.access.access import Access
from services.gateway.limits.limiter import Limiter


class Paced:
    """Access that refuses tenants over their rate.

    The gate would refuse them as well, after the body was read and the books were asked; a tenant that calls at many times its
    rate must not cost the others that.

    Args:
        access: Tells who a caller is.
        limiter: Knows who is over its rate.
    """

    def __init__(self, access: Access, limiter: Limiter) -> None:
        self._access = access
        self._limiter = limiter

    async def identify(self, authorization: str, address: str) -> Identity:
        """Return who calls; see `Access.identify`.

        Raises:
            Overloaded: RATE_LIMITED.
        """
        who = await self._access.identify(authorization, address)
        self._limiter.refuse_hasty(who.tenant)
        return who
