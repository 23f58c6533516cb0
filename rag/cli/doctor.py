"""`ragmesh doctor`: what is wrong with an installation, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from rag.cli.doctor_checks import (
    GOOD,
    SKIPPED,
    WRONG,
    Finding,
    check_folder,
    check_milvus,
    check_model,
    check_ports,
    check_redis,
    is_healthy,
)
from rag.cli.doctor_settings import DoctorSettings
from rag.cli.operating import read
from rag.cli.plain import line
from rag.cli.terminal import DEFAULT_ADDRESS, Address, Json, connected, out, print_json, print_table, run
from rag.client import RagClient
from rag.runtime.errors import RagError

_MARKS = {GOOD: ("✓", "green"), WRONG: ("✗", "bold red"), SKIPPED: ("·", "dim")}
_SERVICES = ("Embedder", "Retriever", "Generator", "Ingestor")
_CALL_S = 5.0
_COLUMNS = ("state", "check", "found", "what to do")


def doctor(*, as_json: Json = False, address: Address = DEFAULT_ADDRESS) -> None:
    """Look for what is wrong with an installation, and say what to do about it.

    It reads the settings from where it runs, as the services do. Exit code 0 when nothing is wrong, else 1.
    """
    run(_doctor(address, as_json=as_json))


async def _doctor(address: str, *, as_json: bool) -> int:
    settings = read(DoctorSettings)
    reached = await _gateway(address)
    folder = settings.data_dir.resolve()
    findings = [
        *reached,
        *check_ports(settings, is_running=reached[0].state != SKIPPED),
        *check_folder(folder),
        *await check_redis(settings.redis_url, folder),
        await check_milvus(settings.milvus_uri),
        await check_model(settings.openai_base_url, settings.openai_api_key.get_secret_value()),
    ]
    if as_json:
        for finding in findings:
            print_json(asdict(finding))
    else:
        _show(findings)
    return 0 if is_healthy(findings) else 1


async def _gateway(address: str) -> list[Finding]:
    """Return whether the gateway and the services behind it serve, and whether it takes the key."""
    try:
        async with connected(address, _CALL_S) as rag:
            if found := await _serving(rag):
                return [found]
            await rag.usage()
    except RagError as error:
        advice = "Set RAGMESH_KEY to a key of this gateway; `ragmesh keys create` makes one."
        return [Finding("gateway", GOOD, "serves"), Finding("key", WRONG, error.message, advice)]
    return [Finding("gateway", GOOD, f"serves at {rag.address}"), Finding("key", GOOD, "is accepted")]


async def _serving(rag: RagClient) -> Finding | None:
    state = await rag.health()
    if state == "SERVING":
        return None
    if not state:
        return Finding("gateway", SKIPPED, f"nothing answers at {rag.address}: ragmesh does not run there")
    away = [name.lower() for name in _SERVICES if await rag.health(f"rag.v1.{name}Service") != "SERVING"]
    advice = (
        f"Look at the log of {' and '.join(away) or 'the gateway'}. The first start builds a model, in about a minute."
    )
    return Finding("gateway", WRONG, f"runs, but says {state}", advice)


def _show(findings: Sequence[Finding]) -> None:
    if out.is_terminal:
        _show_marks(findings)
    else:
        print_table(_COLUMNS, [[finding.state, finding.check, finding.found, finding.advice] for finding in findings])
    wrong = sum(finding.state == WRONG for finding in findings)
    out.print(Text("\nNothing is wrong." if not wrong else f"\n{wrong} to look at.", style="bold"))


def _show_marks(findings: Sequence[Finding]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        mark, style = _MARKS[finding.state]
        table.add_row(Text(mark, style=style), Text(finding.check, no_wrap=True), Text(line(finding.found)))
        if finding.advice:
            table.add_row("", "", Text(f"→ {finding.advice}", style="yellow"))
    out.print(table)
