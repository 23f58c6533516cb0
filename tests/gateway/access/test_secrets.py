"""Secrets are nowhere to be found: not in Redis, not in the data folder, not in a log line, not in an answer."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest

from rag.access.api_key import new_key
from tests.gateway.access.forging import good_token
from tests.gateway.access.opening import bearer, guarded
from tests.redis_server import running_redis

ROOT = Path(__file__).resolve().parents[3]
SECRETS = {"secret", "digest", "pepper", "signature", "checksum", "token", "credential", "mark", "password"}
SOURCES = sorted(path for folder in ("rag/access", "services/gateway/access") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_secret_is_compared_byte_by_byte(path):
    """`==` stops at the first byte that differs, and its time tells which."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [node.left, *node.comparators]
            named = {word for side in sides for part in ast.walk(side) for word in _words(part)}
            assert not named & SECRETS or "get_secret_value" in ast.unparse(node), ast.unparse(node)


def _words(node):
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name.strip("_").lower().split("_")


async def test_what_is_kept_and_what_is_said_holds_no_secret(open_gateway, tmp_path, tenant, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with running_redis(tmp_path / "redis") as url:
        async with guarded(open_gateway, url, tmp_path, key_pepper="") as door:
            good = [await door.key(tenant, "query"), good_token(tenant=tenant)]
            bad = [new_key().text, good[0][:-1], good[1][:-4] + "AAAA"]
            said = []
            for credential in (*good, *bad):
                answer = await door.gateway.http.get("/v1/documents", headers=bearer(credential))
                said.append(f"{answer.status_code} {answer.headers} {answer.text}")
            said.append((await door.gateway.http.get("/metrics")).text)
            assert [text[:3] for text in said] == ["200", "200", "401", "401", "401", "# H"]
            await door.redis.bgrewriteaof()
            kept = [await door.redis.dump(key) async for key in door.redis.scan_iter("*")]
    on_disk = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    captured = capfd.readouterr()
    everything = b"\n".join(
        [*kept, *on_disk, *(text.encode() for text in (*said, caplog.text, captured.out, captured.err))]
    )
    assert kept
    assert tenant.encode() in everything
    for secret in (*good, *bad):
        assert secret[4:40].encode() not in everything
        assert secret[-40:-6].encode() not in everything
