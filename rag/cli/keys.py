"""`ragmesh keys`: make, list and revoke API keys, on the machine itself and past the gateway, so that there can be a first one."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from rag import own_redis
from rag.access.issuing import Issuer
from rag.access.pepper import load_pepper
from rag.access.record import ApiKeyRecord
from rag.access.redis_keys import RedisKeys
from rag.cli.operating import DataDir, settings
from rag.cli.plain import line
from rag.cli.terminal import Json, err, examples, out, print_json, print_table, run
from rag.ids import check_id
from rag.runtime.access import ADMIN, INGEST, OPERATOR, OPERATOR_SCOPES, QUERY
from rag.runtime.errors import InvalidInput
from rag.runtime.redis import open_redis, reached

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys, on the machine that runs ragmesh.")

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"([1-9][0-9]{0,9})([smhdw])")


class Scope(StrEnum):
    """What a key may; operator only by this command."""

    QUERY = QUERY
    INGEST = INGEST
    ADMIN = ADMIN
    OPERATOR = OPERATOR


Tenant = Annotated[str, typer.Option(help="Whose keys.")]


@app.command(
    epilog=examples(
        "keys create --name laptop --scope query --scope ingest",
        "keys create --tenant acme --name 'their admin' --scope admin --expires 90d",
        "keys create --name ci | docker secret create ragmesh_key -",
    )
)
def create(
    *,
    name: Annotated[str, typer.Option(help="What people call it: 1 to 100 characters.")],
    tenant: Tenant = "default",
    scope: Annotated[
        list[Scope], typer.Option(help="What it may; repeat it for several. `operator` concerns all tenants.")
    ] = [Scope.QUERY],  # noqa: B006 - typer copies it
    expires: Annotated[
        str, typer.Option(metavar="30d", help="How long it lasts (s, m, h, d, w); for ever if not said.")
    ] = "",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Make an API key and show it, this once: nothing that is kept tells it again.

    In a pipe the key alone is written to stdout.

    Exit code 0 when there is a new key, 1 when not.
    """
    run(_create(tenant, name, scope, expires, data_dir, as_json=as_json))


@app.command("list", epilog=examples("keys list --tenant acme", "keys list --json | jq -r .id"))
def list_(*, tenant: Tenant = "default", data_dir: DataDir = None, as_json: Json = False) -> None:
    """List a tenant's keys, newest first, those that have ended too."""
    run(_list(tenant, data_dir, as_json=as_json))


@app.command(epilog=examples("keys revoke key_0123 --tenant acme"))
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a key, as the list shows it.")],
    *,
    tenant: Tenant = "default",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """End a key: within five seconds nobody gets in with it. Revoking it again changes nothing."""
    run(_revoke(tenant, key_id, data_dir, as_json=as_json))


@dataclass(frozen=True, slots=True)
class _Opened:
    store: RedisKeys
    issuer: Issuer


@asynccontextmanager
async def _open(tenant: str, data_dir: Path | None) -> AsyncIterator[_Opened]:
    check_id(tenant, "tenant")
    found = settings()
    folder = (data_dir or found.data_dir).resolve()
    async with open_redis(found.redis_url or own_redis.url_of(folder)) as redis:
        # Its address may hold a password.
        where = "at REDIS_URL" if found.redis_url else f"in {folder}"
        message = f"No Redis answers {where}. `ragmesh up` starts one; --data-dir or REDIS_URL says where it is."
        with reached(message, "REDIS_UNAVAILABLE"):
            await redis.ping()
        pepper = load_pepper(folder, found.key_pepper)
        store = RedisKeys(redis, pepper)
        yield _Opened(store, Issuer(store, pepper))


async def _create(
    tenant: str, name: str, scopes: list[Scope], expires: str, data_dir: Path | None, *, as_json: bool
) -> int:
    ttl_s = _seconds(expires)
    async with _open(tenant, data_dir) as keys:
        secret, record = await keys.issuer.issue(
            tenant, name, [scope.value for scope in scopes], ttl_s, OPERATOR_SCOPES
        )
    if as_json:
        print_json({"secret": secret, **_as_json(record)})
        return 0
    may = ", ".join(sorted(record.scopes))
    ends = f"until {_day(record.expires_ms)}" if record.expires_ms else "without an end"
    # Beside the key, so that a pipe gets the key alone.
    err.print(Text(f"{record.id}: may {may} for the tenant {tenant}, {ends}."), soft_wrap=True)
    err.print("This is the key. Keep it now: it is shown this once.")
    out.print(Text(secret), soft_wrap=True)
    return 0


async def _list(tenant: str, data_dir: Path | None, *, as_json: bool) -> int:
    async with _open(tenant, data_dir) as keys:
        found = await keys.store.list(tenant)
    if as_json:
        for record in found:
            print_json(_as_json(record))
    elif found:
        rows = [_row(record, time.time() * 1000) for record in found]
        print_table(["key", "name", "may", "made", "state"], rows, may_shrink=["name"])
    else:
        err.print(f"The tenant {line(tenant)} has no keys. `ragmesh keys create --tenant ... --name ...` makes one.")
    return 0


async def _revoke(tenant: str, key_id: str, data_dir: Path | None, *, as_json: bool) -> int:
    async with _open(tenant, data_dir) as keys:
        record = await keys.store.revoke(tenant, key_id, int(time.time() * 1000))
    if as_json:
        print_json(_as_json(record))
    else:
        out.print(Text(f"revoked  {record.id}  {line(record.name)}"), soft_wrap=True)
    return 0


def _row(record: ApiKeyRecord, now_ms: float) -> list[str]:
    may = ", ".join(sorted(record.scopes))
    return [record.id, record.name, may, _day(record.created_ms), _state(record, now_ms)]


def _state(record: ApiKeyRecord, now_ms: float) -> str:
    if record.revoked_ms:
        return f"revoked {_day(record.revoked_ms)}"
    if record.expires_ms:
        return f"{'until' if record.is_good(now_ms) else 'expired'} {_day(record.expires_ms)}"
    return "good"


def _as_json(record: ApiKeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "tenant": record.tenant,
        "name": record.name,
        "scopes": sorted(record.scopes),
        "created_at": _instant(record.created_ms),
        "expires_at": _instant(record.expires_ms),
        "revoked_at": _instant(record.revoked_ms),
    }


def _instant(ms: int | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds") if ms else None


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _seconds(text: str) -> int:
    if not text:
        return 0
    found = _DURATION.fullmatch(text)
    if not found:
        message = "--expires takes a number and a unit, such as 30d: s, m, h, d or w."
        raise InvalidInput(message, "BAD_DURATION")
    return int(found[1]) * _UNITS_S[found[2]]
