"""The caches of a tenant, as its admins see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased."""

    answers: int
    rankings: int


class Caches(Protocol):
    """What services remember of a tenant's questions."""

    async def erase(self) -> Erased:
        """Erase the cached answers and rankings of the current call's tenant; what is in the making is not kept either.

        Raises:
            Unavailable: a part may be erased; do it again.
        """
        ...
