"""What a version of a document is made from, in one short word."""

from __future__ import annotations

import hashlib
import json

from services.ingestor.jobs import Upload
from services.ingestor.splitting import SPLITTER_VERSION, Sizes


def fingerprint(upload: Upload, sizes: Sizes) -> str:
    """64 hex digits. Uploads of one document with equal ones give equal versions, so the second has nothing to do."""
    # JSON, so that no two lists of fields can read the same.
    made_from = [
        SPLITTER_VERSION,
        sizes.tokens,
        sizes.overlap,
        upload.content_hash,
        upload.media_type,
        upload.name,
        upload.title,
        sorted(upload.metadata.items()),
    ]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
