"""The parser child: reads one document under limits and writes frames. It is expected to die on hostile documents."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import cast

from rag.runtime.errors import InvalidInput
from services.ingestor import frames
from services.ingestor.frames import ReadRequest
from services.ingestor.media_types import PDF
from services.ingestor.pages import Opening, Page
from services.ingestor.readers import limits

_STDOUT = 1
_CRASHED = 1


def run(request: ReadRequest, reader: ModuleType, parent: int) -> int:
    """Read the document that is asked for to standard output; return the exit status."""
    limits.limit(request.limits, parent)
    faulthandler.enable(file=sys.stderr)
    gc.enable()
    # What libraries report about a document may quote it.
    logging.disable(logging.CRITICAL)
    try:
        _stream(request, reader)
    except InvalidInput as error:
        _send(frames.encode("error", reason=error.reason, message=error.message))
    except MemoryError:
        return frames.OUT_OF_MEMORY
    except BrokenPipeError:
        return 0  # the parent has left
    except Exception as error:  # noqa: BLE001 - a library fed with a broken document raises anything
        _report(error)
        return _CRASHED
    return 0


def _stream(request: ReadRequest, reader: ModuleType) -> None:
    for number, item in enumerate(_items(request, reader), 1):
        _send(frames.encode_item(item))
        limits.grant(request.limits, number)
    _send(frames.encode("end"))


def _items(request: ReadRequest, reader: ModuleType) -> Iterator[Opening | Page]:
    # Only a PDF can be opened with a password here.
    secret = {"password": request.password} if request.media_type == PDF else {}
    has_text = False
    for item in cast("Iterator[Opening | Page]", reader.read(Path(request.path), **secret)):
        has_text = has_text or (isinstance(item, Page) and bool(item.text.strip()))
        yield item
    if not has_text:
        raise InvalidInput("The document holds no text.", "NO_TEXT")


def _send(frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[os.write(_STDOUT, view) :]


def _report(error: Exception) -> None:
    """Write where the error came from, but not what it says: that may be a piece of the document."""
    places = "".join(traceback.format_tb(error.__traceback__))
    os.write(sys.stderr.fileno(), f"{places}{type(error).__name__}\n".encode(errors="replace"))
