"""Reads e-mails: who wrote what to whom, and the names of what is attached."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.about import facts, heading, line
from services.ingestor.readers.faults import named
from services.ingestor.readers.html import whole_text
from services.ingestor.readers.parts import clean, parts
from services.ingestor.readers.text import decoded
from services.ingestor.sniffing import HEAD_BYTES, wide_encoding

MAX_BYTES = 50_000_000
"""The largest mail that is read: the parser holds it whole, some times over. Hardly a mail server takes more."""
_DAMAGED = "The e-mail is damaged and cannot be read."
_ENCRYPTED_TYPES = {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}
_HEADERS = ("From", "To", "Cc", "Date")
_MAX_PARTS = 1_000
_MAX_NAMES = 100


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the subject as title, then the text as one document without pages. Attachments are named, not read.

    Raises:
        InvalidInput: EML_DAMAGED, EML_ENCRYPTED, EML_LIMIT, BAD_ENCODING.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InvalidInput(
            f"The e-mail is larger than {MAX_BYTES // 1_000_000} MB; send its attachments alone.", "EML_LIMIT"
        )
    with named("EML_DAMAGED", _DAMAGED):
        mail = _parsed(path)
        subject = _header(mail, "Subject")
        files = _attachments(mail)
        text = _text(mail)
        if not text and _is_encrypted(mail):
            raise InvalidInput("The e-mail is encrypted.", "EML_ENCRYPTED")
        yield Opening(title=subject, metadata=_facts(mail, files))
        yield from parts(
            0, [clean("\n\n".join(filter(None, (_head(mail, subject), text, files and f"Attachments: {files}"))))]
        )


def _parsed(path: Path) -> EmailMessage:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        # Some programs save a mail in UTF-16, which no mail can be sent in.
        content = "".join(decoded(path)).encode() if wide_encoding(head) else file.read()
    return email.message_from_bytes(content, _class=EmailMessage, policy=email.policy.default)


def _head(mail: EmailMessage, subject: str) -> str:
    lines = [f"{name}: {value}" for name in _HEADERS if (value := _header(mail, name))]
    return "\n\n".join(filter(None, (heading(1, subject) if subject else "", "\n".join(lines))))


def _header(mail: EmailMessage, name: str) -> str:
    try:
        return line(mail[name])
    except Exception:  # noqa: BLE001 - the standard library fails on some malformed headers; the text is worth more
        return ""


def _text(mail: EmailMessage) -> str:
    """The plain text, or else the HTML; of a mail made of mails, that of all of them."""
    body = mail.get_body(preferencelist=("plain", "html"))
    text = _content(body) if isinstance(body, EmailMessage) else ""
    if text and isinstance(body, EmailMessage) and body.get_content_type() == "text/html":
        text = whole_text(text)
    return text.strip() or "\n\n".join(filter(None, _inner_texts(mail)))


def _inner_texts(mail: EmailMessage) -> Iterator[str]:
    for number, part in enumerate(mail.walk()):
        if number >= _MAX_PARTS:
            return
        if part.get_content_type() == "message/rfc822":
            inner = part.get_payload(0) if part.is_multipart() else None
            if isinstance(inner, EmailMessage):
                yield _head(inner, _header(inner, "Subject"))
        elif part.get_content_type() == "text/plain" and not part.is_attachment():
            yield _content(part).strip()
        elif part.get_content_type() == "text/html" and not part.is_attachment():
            yield whole_text(_content(part)).strip()


def _content(part: EmailMessage) -> str:
    """The text of a part; bytes that its encoding does not know become U+FFFD."""
    try:
        content = part.get_content()
    except (LookupError, ValueError):
        payload = part.get_payload(decode=True)
        content = payload.decode("utf-8", errors="replace") if isinstance(payload, bytes) else ""
    return content if isinstance(content, str) else ""


def _attachments(mail: EmailMessage) -> str:
    names: list[str] = []
    for number, part in enumerate(mail.walk()):
        if number >= _MAX_PARTS or len(names) >= _MAX_NAMES:
            break
        name = line(part.get_filename(), 200)
        if name:
            names.append(name)
    return ", ".join(names)


def _is_encrypted(mail: EmailMessage) -> bool:
    return any(part.get_content_type() in _ENCRYPTED_TYPES for part in mail.walk())


def _facts(mail: EmailMessage, files: str) -> dict[str, str]:
    sent = getattr(mail["Date"], "datetime", None)
    return facts(
        **{"from": _header(mail, "From")},
        to=_header(mail, "To"),
        cc=_header(mail, "Cc"),
        date=sent if isinstance(sent, datetime) else _header(mail, "Date"),
        message_id=_header(mail, "Message-ID"),
        attachments=files,
    )
