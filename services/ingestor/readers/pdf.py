"""Reads PDF with pypdf, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pypdf
from pypdf.errors import LimitReachedError

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.about import facts, line
from services.ingestor.readers.parts import clean, parts
from services.ingestor.readers.pdf_file import LIMITS, PdfFile
from services.ingestor.readers.pdf_repeats import Repeats

T = TypeVar("T")

_FORGET_EVERY_PAGES = 10


def read(path: Path, password: str = "") -> Iterator[Opening | Page]:
    """Yield what the document says about itself, then the pages. A page that cannot be read is empty.

    Raises:
        InvalidInput: PDF_ENCRYPTED, PDF_PASSWORD_WRONG, PDF_ENCRYPTION_UNKNOWN, PDF_DAMAGED, PDF_LIMIT, PDF_NO_TEXT.
    """
    with pypdf.apply_configuration(LIMITS), path.open("rb") as file:
        try:
            document = PdfFile(file)
            _unlock(document, password)
            total = len(document.pages)
        except (InvalidInput, MemoryError):
            raise
        except LimitReachedError as error:
            raise _too_much() from error
        except NotImplementedError as error:
            message = "The PDF is encrypted in a way that is not known here."
            raise InvalidInput(message, "PDF_ENCRYPTION_UNKNOWN") from error
        except Exception as error:  # PyPdfError, DependencyError, and whatever a broken file leads to
            raise _damaged() from error
        if not total:
            raise _damaged()
        yield _opening(document, total)
        yield from _pages(document, total)


def _unlock(document: PdfFile, password: str) -> None:
    # Many files are encrypted with an empty password only to forbid printing: everybody may read them.
    if not document.is_encrypted or document.decrypt("") or (password and document.decrypt(password)):
        return
    if password:
        raise InvalidInput("The password does not open the PDF.", "PDF_PASSWORD_WRONG")
    raise InvalidInput("The PDF is encrypted: its password is needed.", "PDF_ENCRYPTED")


def _opening(document: PdfFile, total: int) -> Opening:
    info = _told(lambda: document.metadata)
    if info is None:
        return Opening(pages_total=total)
    about = facts(
        author=_told(lambda: info.author),
        subject=_told(lambda: info.subject),
        keywords=_told(lambda: info.keywords),
        created=_told(lambda: info.creation_date),
        modified=_told(lambda: info.modification_date),
    )
    return Opening(pages_total=total, title=line(_told(lambda: info.title)), metadata=about)


def _told(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a document that is wrong about itself is still a document
        return None


def _pages(document: PdfFile, total: int) -> Iterator[Page]:
    has_text = False
    worst: Exception | None = None
    repeats = Repeats()
    for index in range(total):
        try:
            text = clean(repeats.text(document.pages[index]))
        except (InvalidInput, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - a broken page raises anything; the other pages may be sound
            if not isinstance(worst, LimitReachedError):
                worst = error.with_traceback(None)
            yield Page(index + 1, "", skipped=True)
        else:
            has_text = has_text or bool(text.strip())
            yield from parts(index + 1, [text])
        if index % _FORGET_EVERY_PAGES == 0:
            document.forget()
    if not has_text:
        raise _nothing(total, worst)


def _nothing(total: int, worst: Exception | None) -> InvalidInput:
    if worst is None:
        message = "The PDF holds no text; it is scanned or image-only, and needs text recognition (OCR) first."
        return InvalidInput(message, "PDF_NO_TEXT")
    if isinstance(worst, LimitReachedError):
        return _too_much()
    message = f"The PDF is damaged: none of its {total} pages could be read."
    return InvalidInput(message, "PDF_DAMAGED", pages=str(total))


def _damaged() -> InvalidInput:
    return InvalidInput("The file is not a valid PDF, or it is damaged or cut off.", "PDF_DAMAGED")


def _too_much() -> InvalidInput:
    return InvalidInput("The PDF unpacks to more than is allowed for one document.", "PDF_LIMIT")
