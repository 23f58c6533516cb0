"""The pepper: a secret without which the digests of keys are worth nothing, kept apart from them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from rag.durable import sync
from rag.runtime.errors import FailedPrecondition
from rag.runtime.signing_secret import LEAST_BYTES

FILE = Path("gateway") / "pepper"
"""Inside the data folder."""
_BYTES = 32


def load_pepper(
    data_dir: Path, setting: SecretStr, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> bytes:
    """Return the pepper: that of the setting, else the one in the data folder, which is made when there is none.

    Raises:
        FailedPrecondition: PEPPER_UNREADABLE.
    """
    if given := setting.get_secret_value():
        return given.encode()
    path = data_dir / FILE
    try:
        if not path.exists():
            _make(path, random_bytes(_BYTES).hex())
        found = path.read_bytes().strip()
    except OSError as error:
        message = f"{path} cannot be read or made: {error.strerror or error}. RAG_KEY_PEPPER can take its place."
        raise FailedPrecondition(message, "PEPPER_UNREADABLE") from error
    if len(found) < LEAST_BYTES:
        message = f"{path} is damaged, and no API key can be checked without it; bring it back from a backup."
        raise FailedPrecondition(message, "PEPPER_UNREADABLE")
    return found


def _make(path: Path, pepper: str) -> None:
    """Write the file whole or not at all; of several processes that do so at once, one wins, and all read the same."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(pepper)
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link, and no rename: it fails when another one is there by now.
            os.link(draft, path)
        except FileExistsError:
            return
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)
