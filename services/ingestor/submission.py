"""Takes an upload in: on disk and in the queue before it is accepted, or nothing at all."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from rag.ids import check_id, new_id
from rag.runtime.errors import AlreadyExists, InvalidInput, Overloaded, TooLarge
from rag.runtime.logs import get_logger
from rag.runtime.tasks import unbroken
from services.ingestor.blobs import BlobDraft, BlobStore, blob_name, discard
from services.ingestor.jobs import Job, JobStore, MetadataValue, Request, Upload
from services.ingestor.sniffing import HEAD_BYTES, media_type_of

log = get_logger(__name__)

MAX_NAME_CHARS = 255
MAX_TITLE_CHARS = 1_000
MAX_REQUEST_ID_CHARS = 255
MAX_PASSWORD_CHARS = 1_000
_WRITE_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class Header:
    """What the client says about an upload; all but `name` may be empty. Checked when made."""

    document_id: str
    name: str
    title: str = ""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    request_id: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Raise `InvalidInput` BAD_ID, BAD_NAME, BAD_TITLE, BAD_REQUEST_ID or BAD_PASSWORD."""
        if self.document_id:
            check_id(self.document_id, "document_id")
        if not 1 <= len(self.name) <= MAX_NAME_CHARS or not self.name.isprintable():
            message = f"name must be 1 to {MAX_NAME_CHARS} printable characters."
            raise InvalidInput(message, "BAD_NAME")
        if len(self.title) > MAX_TITLE_CHARS:
            message = f"title must be at most {MAX_TITLE_CHARS} characters."
            raise InvalidInput(message, "BAD_TITLE")
        if len(self.request_id) > MAX_REQUEST_ID_CHARS or not self.request_id.isprintable():
            message = f"request_id must be at most {MAX_REQUEST_ID_CHARS} printable characters."
            raise InvalidInput(message, "BAD_REQUEST_ID")
        check_password(self.password)


def check_password(password: str) -> str:
    """Return a document's password. Raises `InvalidInput` BAD_PASSWORD when it is longer than any document's."""
    if len(password) > MAX_PASSWORD_CHARS:
        message = f"password must be at most {MAX_PASSWORD_CHARS} characters."
        raise InvalidInput(message, "BAD_PASSWORD")
    return password


@dataclass(slots=True)
class _Received:
    """What is known of the bytes so far. Their type is checked as soon as enough are there."""

    name: str
    max_bytes: int
    size: int = 0
    head: bytes = b""
    media_type: str = ""
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self.max_bytes:
            message = f"The upload is larger than the limit of {self.max_bytes} bytes."
            raise TooLarge(message, "UPLOAD_TOO_LARGE", max_bytes=str(self.max_bytes))
        self.hash.update(chunk)
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
            if len(self.head) == HEAD_BYTES:
                self.end()

    def end(self) -> None:
        self.media_type = self.media_type or media_type_of(self.head, self.name)


class Submissions:
    """Accepts uploads.

    Args:
        blobs: Where the bytes go.
        jobs: Where the job and its queue entry go.
        max_bytes: The largest upload accepted.
        clock: Unix seconds.
        make_id: Makes ids from a prefix.
    """

    def __init__(
        self,
        blobs: BlobStore,
        jobs: JobStore,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
        make_id: Callable[[str], str] = new_id,
    ) -> None:
        self._blobs = blobs
        self._jobs = jobs
        self._max_bytes = max_bytes
        self._clock = clock
        self._make_id = make_id

    async def submit(self, tenant: str, header: Header, chunks: AsyncIterator[bytes]) -> Job:
        """Return the job once nothing can be lost any more: a new one, or the one that the same request made before.

        Raises:
            InvalidInput: EMPTY_FILE, UNSUPPORTED_TYPE.
            TooLarge: UPLOAD_TOO_LARGE.
            AlreadyExists: IDEMPOTENCY_KEY_REUSED.
            Overloaded: QUEUE_FULL.
            Unavailable: QUEUE_NOT_DURABLE, BLOBS_UNAVAILABLE: nothing was kept. QUEUE_UNAVAILABLE: it may have been
                accepted or not, and only a request id makes it safe to send it again.
        """
        await self._jobs.check_open(tenant, header.request_id)
        job_id = self._make_id("job")
        async with self._blobs.draft(blob_name(tenant, job_id)) as draft:
            received = await self._receive(draft, header.name, chunks)
            upload = _upload(tenant, job_id, header, received)
            # Between blob and queue entry there is no good place to stop.
            return await unbroken(self._accept(draft, upload, _request(header, received)))

    async def _receive(self, draft: BlobDraft, name: str, chunks: AsyncIterator[bytes]) -> _Received:
        received = _Received(name, self._max_bytes)
        waiting = bytearray()
        async for chunk in chunks:
            received.add(chunk)
            waiting += chunk
            if len(waiting) >= _WRITE_BYTES:
                await draft.write(bytes(waiting))
                waiting.clear()
        received.end()
        await draft.write(bytes(waiting))
        return received

    async def _accept(self, draft: BlobDraft, upload: Upload, request: Request | None) -> Job:
        await draft.commit()
        try:
            job = await self._jobs.add(upload, _job(upload, self._clock()), request)
        except (AlreadyExists, Overloaded):
            await discard(self._blobs, upload.blob)
            raise
        # After any other error the job may be in the queue for all we know, and its worker needs the blob.
        if job.id != upload.job_id:
            await discard(self._blobs, upload.blob)
        log.info("accepted", job_id=job.id, document_id=job.document_id, again=job.id != upload.job_id)
        return job


def _job(upload: Upload, now: float) -> Job:
    return Job(
        id=upload.job_id,
        document_id=upload.document_id,
        name=upload.name,
        size_bytes=upload.size_bytes,
        created_at=now,
        updated_at=now,
    )


def _request(header: Header, received: _Received) -> Request | None:
    if not header.request_id:
        return None
    # JSON, so that no two lists of fields can read the same.
    sent = [
        received.hash.hexdigest(),
        header.document_id,
        header.name,
        header.title,
        sorted(header.metadata.items()),
        hashlib.sha256(header.password.encode(errors="replace")).hexdigest(),
    ]
    return Request(header.request_id, hashlib.sha256(json.dumps(sent).encode()).hexdigest())


def _upload(tenant: str, job_id: str, header: Header, received: _Received) -> Upload:
    content_hash = received.hash.hexdigest()
    return Upload(
        tenant=tenant,
        job_id=job_id,
        # The same bytes are one document, however often they are sent.
        document_id=header.document_id or f"doc_{content_hash[:24]}",
        name=header.name,
        title=header.title,
        media_type=received.media_type,
        content_hash=content_hash,
        size_bytes=received.size,
        metadata=dict(header.metadata),
        password=header.password,
    )
