"""`ragmesh usage`: what a tenant used, and what it may."""

from __future__ import annotations

from collections.abc import Callable

from rich.filesize import decimal
from rich.text import Text

from rag.cli.plain import line
from rag.cli.terminal import DEFAULT_ADDRESS, Address, Json, connected, out, print_json, print_table, run
from rag.json_shape import to_json
from rag.v1 import gateway_pb2 as pb

_BAR_CELLS = 20


def usage(*, as_json: Json = False, address: Address = DEFAULT_ADDRESS) -> None:
    """Show what your tenant used today, what it stores, and what it may."""
    run(_usage(address, as_json=as_json))


async def _usage(address: str, *, as_json: bool) -> int:
    async with connected(address) as rag:
        found = await rag.usage()
    if as_json:
        print_json(to_json(found))
        return 0
    since = found.day_started_at.ToDatetime().strftime("%Y-%m-%d %H:%M")
    out.print(Text.assemble(("tenant ", "dim"), line(found.tenant), (f", today since {since} UTC\n", "dim")))
    rows = [_row(name, meter, shown) for name, meter, shown in _meters(found)]
    print_table(["", "used", "limit", ""], rows)
    return 0


def _meters(found: pb.GetUsageResponse) -> list[tuple[str, pb.Meter, Callable[[float], str]]]:
    return [
        ("requests today", found.requests_today, _count),
        ("requests in a minute", found.requests_per_minute, _count),
        ("open streams", found.streams, _count),
        ("tokens today", found.tokens_today, _count),
        ("cost today", found.cost_usd_today, _dollars),
        ("documents", found.documents, _count),
        ("stored", found.stored_bytes, lambda number: decimal(int(number))),
    ]


def _row(name: str, meter: pb.Meter, shown: Callable[[float], str]) -> list[str]:
    if not meter.HasField("limit"):
        return [name, shown(meter.used), "-", ""]
    share = min(1.0, meter.used / meter.limit) if meter.limit else 1.0
    filled = round(share * _BAR_CELLS)
    bar = f"{'━' * filled}{'─' * (_BAR_CELLS - filled)} " if out.is_terminal else ""
    return [name, shown(meter.used), shown(meter.limit), f"{bar}{share:.0%}"]


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _dollars(number: float) -> str:
    return f"{number:,.4f} USD" if number < 1 else f"{number:,.2f} USD"
