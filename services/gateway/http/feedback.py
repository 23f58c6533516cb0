"""What people think of answers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import ConfigDict, Field, StrictStr

from rag.v1 import gateway_pb2 as pb
from services.gateway.http import examples, schemas
from services.gateway.http.bodies import Body, BoundedJson, PageToken, Rated
from services.gateway.http.deps import Deps
from services.gateway.http.own import OwnCalls

_RATINGS = {"up": pb.RATING_UP, "down": pb.RATING_DOWN, None: pb.RATING_UNSPECIFIED}
_Rating = Annotated[Rated | None, Query(description="Only this rating.")]
_PageSize = Annotated[int, Query(ge=-(2**31), lt=2**31, description="At most this many; 0 for 50, 200 at most.")]


class FeedbackBody(Body):
    """An opinion about an answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"answer_id": examples.ANSWER_ID, "rating": "up"},
                {"answer_id": examples.ANSWER_ID, "rating": "down", "comment": "The manual of 2024 says otherwise."},
            ]
        }
    )

    answer_id: StrictStr = Field(description="The answer, by the id in its `accepted` event: one of the last 30 days.")
    rating: Rated = Field(description="Good or not.")
    comment: StrictStr = Field("", description="Why: at most 2,000 characters.")

    def to_proto(self) -> pb.SubmitFeedbackRequest:
        """Return the request of the contract."""
        return pb.SubmitFeedbackRequest(answer_id=self.answer_id, rating=_RATINGS[self.rating], comment=self.comment)


class FeedbackRoutes:
    """The routes of feedback."""

    def __init__(self, deps: Deps) -> None:
        self._own = deps.own
        self._calls = OwnCalls(deps.settings.unary_timeout_s)

    async def submit(self, request: Request, body: FeedbackBody) -> Response:
        """Say whether an answer was any good. The last word about an answer counts."""
        await self._calls.ask(request, self._own.SubmitFeedback, body.to_proto())
        return Response(status_code=204)

    async def list_all(
        self, request: Request, rating: _Rating = None, page_size: _PageSize = 0, page_token: PageToken = ""
    ) -> Response:
        """List what was said about answers, newest first, with the questions and the documents that the answers cited."""
        asked = pb.ListFeedbackRequest(rating=_RATINGS[rating], page_size=page_size, page_token=page_token)
        return await self._calls.answer(request, self._own.ListFeedback, asked)


def routes(deps: Deps) -> APIRouter:
    """Return the routes under /v1/feedback."""
    feedback = FeedbackRoutes(deps)
    router = APIRouter(prefix="/v1/feedback", tags=["feedback"], route_class=BoundedJson)
    router.add_api_route(
        "",
        feedback.submit,
        methods=["POST"],
        operation_id="submitFeedback",
        summary="Say what an answer was worth",
        status_code=204,
        responses=schemas.answers(
            None,
            status=204,
            scope="query",
            reads_body=True,
            reasons=("BAD_ID", "COMMENT_TOO_LONG", "ANSWER_NOT_FOUND", "FEEDBACK_UNAVAILABLE"),
        ),
    )
    router.add_api_route(
        "",
        feedback.list_all,
        methods=["GET"],
        operation_id="listFeedback",
        summary="List feedback",
        responses=schemas.answers(
            schemas.of(pb.ListFeedbackResponse.DESCRIPTOR),
            example=examples.FEEDBACK,
            scope="admin",
            reasons=("BAD_PAGE_SIZE", "BAD_PAGE_TOKEN", "FEEDBACK_UNAVAILABLE"),
        ),
    )
    return router
