"""Forms byte by byte, as no well-behaved client would let tests write them."""

from __future__ import annotations

FORM = {"content-type": "multipart/form-data; boundary=b"}
END = b"--b--\r\n"


def field(name: str, value: str | bytes) -> bytes:
    """A field as a part."""
    raw = value.encode() if isinstance(value, str) else value
    return b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), raw)


def file(name: str, content: bytes, part: str = "file") -> bytes:
    """A file as a part."""
    head = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n' % (part.encode(), name.encode())
    return head + b"Content-Type: text/plain\r\n\r\n" + content + b"\r\n"
