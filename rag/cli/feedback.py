"""`ragmesh feedback`: whether an answer was any good."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from rag.cli.terminal import DEFAULT_ADDRESS, Address, connected, run
from rag.v1 import gateway_pb2 as pb


class Thumb(StrEnum):
    """Good or not."""

    UP = "up"
    DOWN = "down"


def feedback(
    answer_id: Annotated[
        str, typer.Argument(metavar="ANSWER", help="The answer's id: the last line that `ask` shows.")
    ],
    thumb: Annotated[Thumb, typer.Argument(help="Good or not.")],
    comment: Annotated[str, typer.Option(help="Why; at most 2,000 characters.")] = "",
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Say whether an answer was any good. The last word about an answer counts."""
    run(_rate(answer_id, pb.Rating.Value(f"RATING_{thumb.name}"), comment, address))


async def _rate(answer_id: str, rating: pb.Rating.ValueType, comment: str, address: str) -> int:
    async with connected(address) as rag:
        await rag.rate(answer_id, rating, comment)
    return 0
