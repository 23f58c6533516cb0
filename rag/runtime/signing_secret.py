"""Secrets that something is signed or hashed with."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, SecretStr

LEAST_BYTES = 32
"""As many as SHA-256 gives: what is signed is in many hands, and a shorter secret can be found by trying."""


def _long_enough(value: SecretStr) -> SecretStr:
    if 0 < len(value.get_secret_value().encode()) < LEAST_BYTES:
        message = f"a secret of fewer than {LEAST_BYTES} bytes can be guessed; `openssl rand -hex 32` makes one"
        raise ValueError(message)
    return value


SigningSecret = Annotated[SecretStr, AfterValidator(_long_enough)]
"""A setting that is empty or long enough."""
