"""What GatewayService takes and gives, between protobuf and the domain."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from rag.access.record import ApiKeyRecord
from rag.json_shape import enum_names
from rag.runtime.errors import InvalidInput
from rag.v1 import access_pb2
from rag.v1 import gateway_pb2 as pb
from services.gateway.feedback.feedback import Opinion, Rating
from services.gateway.limits.usage import Meter, UsageReport

_RATINGS = {Rating.UP: pb.RATING_UP, Rating.DOWN: pb.RATING_DOWN}


def to_rating(value: int) -> Rating | None:
    """Return a rating of the contract; None when it is not set.

    Raises:
        InvalidInput: BAD_RATING.
    """
    if value == pb.RATING_UNSPECIFIED:
        return None
    for rating, known in _RATINGS.items():
        if known == value:
            return rating
    raise InvalidInput("rating is not one of the known ratings.", "BAD_RATING", field="rating")


def from_opinion(opinion: Opinion) -> pb.Feedback:
    """Return an opinion as a message."""
    return pb.Feedback(
        answer_id=opinion.answered.answer_id,
        rating=_RATINGS[opinion.rating],
        comment=opinion.comment,
        question=opinion.answered.question,
        document_ids=opinion.answered.document_ids,
        created_at=_moment(opinion.said_ms),
    )


def to_scopes(values: Iterable[int]) -> list[str]:
    """Return scopes of the contract by their names.

    Raises:
        InvalidInput: BAD_SCOPES.
    """
    known = enum_names(access_pb2.Scope.DESCRIPTOR)
    scopes = [known.get(value) or "" for value in values]
    if not all(scopes):
        raise InvalidInput("scopes holds one that is not known.", "BAD_SCOPES", field="scopes")
    return scopes


def from_key(record: ApiKeyRecord) -> pb.ApiKey:
    """Return what is kept of a key as a message."""
    return pb.ApiKey(
        id=record.id,
        name=record.name,
        scopes=sorted(access_pb2.Scope.Value(f"SCOPE_{scope.upper()}") for scope in record.scopes),
        created_at=_moment(record.created_ms),
        expires_at=None if record.expires_ms is None else _moment(record.expires_ms),
        revoked_at=None if record.revoked_ms is None else _moment(record.revoked_ms),
    )


def from_usage(report: UsageReport) -> pb.GetUsageResponse:
    """Return what a tenant used and may as a message."""
    return pb.GetUsageResponse(
        tenant=report.tenant,
        day_started_at=Timestamp(seconds=report.day_started_s),
        requests_today=_meter(report.requests_today),
        requests_per_minute=_meter(report.requests_per_minute),
        streams=_meter(report.streams),
        tokens_today=_meter(report.tokens_today),
        cost_usd_today=_meter(report.cost_usd_today),
        documents=_meter(report.documents),
        stored_bytes=_meter(report.stored_bytes),
    )


def _meter(meter: Meter) -> pb.Meter:
    return pb.Meter(used=meter.used, limit=meter.limit)


def _moment(ms: int) -> Timestamp:
    moment = Timestamp()
    moment.FromMilliseconds(ms)
    return moment
