"""Limits from settings, and from a file for single tenants that may be changed while the gateway runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rag.runtime.errors import FailedPrecondition
from rag.runtime.logs import get_logger
from services.gateway.limits.limits import Limits, overridden

log = get_logger(__name__)

_LOOK_S = 1.0


class FileLimits:
    """Looks at the file once a second at most, and only when somebody asks. A file that is wrong later changes nothing, and is logged.

    Args:
        defaults: Of tenants that the file does not name.
        file: JSON, as `overridden` takes it; None for no file.
        clock: Seconds that never go back.

    Raises:
        FailedPrecondition: LIMITS_FILE.
    """

    def __init__(self, defaults: Limits, file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._defaults = defaults
        self._file = file
        self._clock = clock
        self._looked_at = clock()
        self._seen = _state(file)
        self._special: Mapping[str, Limits] = _read(file, defaults) if file else {}

    def of(self, tenant: str) -> Limits:
        """Return the limits of a tenant."""
        if self._file and self._clock() >= self._looked_at + _LOOK_S:
            self._look(self._file)
        return self._special.get(tenant, self._defaults)

    def _look(self, file: Path) -> None:
        self._looked_at = self._clock()
        state = _state(file)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._special = _read(file, self._defaults)
        except FailedPrecondition as error:
            log.error("limits_not_changed", error=error.message)
        else:
            log.info("limits_changed", tenants=len(self._special))


def _state(file: Path | None) -> tuple[int, int, int]:
    """Return what changes when a file does."""
    try:
        found = file.stat() if file else None
    except OSError:
        found = None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else (0, 0, 0)


def _read(file: Path, defaults: Limits) -> Mapping[str, Limits]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"GATEWAY_LIMITS_FILE, {file}, cannot be read.", "LIMITS_FILE") from error
    return overridden(text, defaults, str(file))
