"""The parser child: `python -m services.ingestor.readers MEMORY_BYTES CPU_S WALL_S MEDIA_TYPE PATH`.

It writes frames to standard output and its log to standard error. It is expected to die on hostile documents.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from rag.runtime.errors import InvalidInput
from services.ingestor import frames
from services.ingestor.pages import Opening, Page
from services.ingestor.readers import limits
from services.ingestor.sniffing import HTML, MARKDOWN, PDF, TEXT

OUT_OF_MEMORY = 70
"""Exit status of a child that ran into its memory limit."""

_READERS = {PDF: "pdf", TEXT: "text", MARKDOWN: "markdown", HTML: "html"}


def main(arguments: list[str]) -> int:
    """Read one document under limits; return the exit status."""
    memory_bytes, cpu_s, wall_s, media_type, path = arguments
    limits.limit(int(memory_bytes), int(cpu_s), int(wall_s))
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
    try:
        for item in _items(media_type, Path(path)):
            _send(frames.encode_item(item))
        _send(frames.encode("end"))
    except InvalidInput as error:
        _send(frames.encode("error", reason=error.reason, message=error.message))
    except MemoryError:
        return OUT_OF_MEMORY
    except BrokenPipeError:
        return 0  # the parent has left
    return 0


def _items(media_type: str, path: Path) -> Iterator[Opening | Page]:
    # Only the reader that is needed is loaded: each of the libraries costs time and memory.
    reader = importlib.import_module(f"services.ingestor.readers.{_READERS[media_type]}")
    has_text = False
    for item in cast("Iterator[Opening | Page]", reader.read(path)):
        has_text = has_text or (isinstance(item, Page) and bool(item.text.strip()))
        yield item
    if not has_text:
        raise InvalidInput("The document holds no text.", "NO_TEXT")


def _send(frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[os.write(sys.stdout.fileno(), view) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
