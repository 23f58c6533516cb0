"""Reads PDF with pypdf, page by page, under limits of our own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pypdf
from pypdf.errors import LimitReachedError

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.parts import clean, parts

log = logging.getLogger(__name__)

MB = 1_000_000
LIMITS = pypdf.Configuration(
    maximum_declared_stream_length=50 * MB,
    array_based_stream_maximum_output_length=20 * MB,
    # Financial filings made from tagged Word files have structure trees of more than the default of 100,000.
    array_maximum_element_count=1_000_000,
    lzw_maximum_output_length=20 * MB,
    run_length_maximum_output_length=20 * MB,
    zlib_maximum_output_length=20 * MB,
    brotli_maximum_output_length=20 * MB,
    jbig2_maximum_output_length=20 * MB,
    image_maximum_buffer_size=20 * MB,
    stream_decoding_work_maximum_length=60 * MB,
    # A page that draws a map may need many; each costs some microseconds and hundreds of bytes.
    stream_parsing_work_maximum_count=400_000,
    xform_maximum_invocations_per_extraction=1_000,
    jbig2dec_binary=None,
    disable_legacy_handling=True,
)
_CLEAR_EVERY_PAGES = 20
_MAX_PAGE_CHARS = 4_000_000


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the title and the number of pages, then the pages. A page that cannot be read is empty.

    Raises:
        InvalidInput: PDF_ENCRYPTED, PDF_DAMAGED, PDF_LIMIT, PDF_NO_TEXT.
    """
    with pypdf.apply_configuration(LIMITS):
        reader = _open(path)
        total = _page_count(reader)
        yield Opening(pages_total=total, title=_title(reader))
        yield from _pages(reader, total)


def _pages(reader: pypdf.PdfReader, total: int) -> Iterator[Page]:
    has_text = False
    failures: list[Exception] = []
    for index in range(total):
        try:
            text = clean(reader.pages[index].extract_text(extraction_mode="plain")[:_MAX_PAGE_CHARS])
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a broken page raises anything; the other pages may be sound
            log.warning("page %d skipped: %r", index + 1, error)
            failures.append(error)
            yield Page(index + 1, "", skipped=True)
        else:
            has_text = has_text or bool(text.strip())
            yield from parts(index + 1, [text])
        if index % _CLEAR_EVERY_PAGES == 0:
            reader.resolved_objects.clear()
    if not has_text:
        raise _nothing(total, failures)


def _nothing(total: int, failures: list[Exception]) -> InvalidInput:
    if not failures:
        message = "The PDF holds no text; it is scanned or image-only, and needs text recognition (OCR) first."
        return InvalidInput(message, "PDF_NO_TEXT")
    if any(isinstance(error, LimitReachedError) for error in failures):
        return _too_much()
    message = f"The PDF is damaged: none of its {total} pages could be read."
    return InvalidInput(message, "PDF_DAMAGED", pages=str(total))


def _open(path: Path) -> pypdf.PdfReader:
    try:
        reader = pypdf.PdfReader(path, strict=False)
        # Many files are encrypted with an empty password only to forbid printing: everybody may read them.
        is_open = not reader.is_encrypted or bool(reader.decrypt(""))
    except MemoryError:
        raise
    except LimitReachedError as error:
        raise _too_much() from error
    except Exception as error:  # PyPdfError, DependencyError, and whatever a broken file leads to
        raise _damaged() from error
    if not is_open:
        raise InvalidInput("The PDF is encrypted with a password.", "PDF_ENCRYPTED")
    return reader


def _page_count(reader: pypdf.PdfReader) -> int:
    try:
        total = len(reader.pages)
    except MemoryError:
        raise
    except LimitReachedError as error:
        raise _too_much() from error
    except Exception as error:
        raise _damaged() from error
    if not total:
        raise _damaged()
    return total


def _title(reader: pypdf.PdfReader) -> str:
    try:
        title = reader.metadata.title if reader.metadata else ""
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a document without a title is still a document
        log.warning("title skipped: %r", error)
        return ""
    return clean(" ".join(title.split()))[:1000] if isinstance(title, str) else ""


def _damaged() -> InvalidInput:
    return InvalidInput("The file is not a valid PDF, or it is damaged or cut off.", "PDF_DAMAGED")


def _too_much() -> InvalidInput:
    return InvalidInput("The PDF unpacks to more than is allowed for one document.", "PDF_LIMIT")
