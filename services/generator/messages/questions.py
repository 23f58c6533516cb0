"""Questions as they come."""

from __future__ import annotations

from rag.runtime.errors import InvalidInput
from rag.v1 import generator_pb2 as pb
from rag.v1 import retriever_pb2
from services.generator.question import Asked, Mode, Role, Turn

_MODES = {
    retriever_pb2.RETRIEVAL_MODE_UNSPECIFIED: Mode.HYBRID,
    retriever_pb2.RETRIEVAL_MODE_HYBRID: Mode.HYBRID,
    retriever_pb2.RETRIEVAL_MODE_DENSE: Mode.DENSE,
    retriever_pb2.RETRIEVAL_MODE_KEYWORD: Mode.KEYWORD,
}
_ROLES = {pb.ROLE_USER: Role.USER, pb.ROLE_ASSISTANT: Role.ASSISTANT}


def to_asked(request: pb.GenerateRequest) -> Asked:
    """Return the question of a request.

    Raises:
        InvalidInput: BAD_MODE or BAD_ROLE for a mode this service does not know.
    """
    if request.mode not in _MODES:
        raise InvalidInput("mode is none of those known.", "BAD_MODE", value=str(request.mode))
    return Asked(
        text=request.question,
        top_k=request.top_k if request.HasField("top_k") else None,
        mode=_MODES[request.mode],
        min_score=request.min_score if request.HasField("min_score") else None,
        filter=request.filter.SerializeToString(deterministic=True),
        max_tokens=request.max_tokens if request.HasField("max_tokens") else None,
        temperature=request.temperature if request.HasField("temperature") else None,
        history=tuple(_turn(turn) for turn in request.history),
        use_cache=request.use_cache if request.HasField("use_cache") else True,
    )


def _turn(turn: pb.Turn) -> Turn:
    if turn.role not in _ROLES:
        raise InvalidInput("The role of a turn is none of those known.", "BAD_ROLE", value=str(turn.role))
    return Turn(_ROLES[turn.role], turn.text)
