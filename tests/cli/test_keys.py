"""`ragmesh keys`: the first key is made where the data is, and told once."""

from __future__ import annotations

import asyncio
import json
import stat
import tempfile
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from rag.access.api_key import parse
from rag.access.pepper import FILE, load_pepper
from rag.access.redis_keys import RedisKeys
from rag.backup.restoring import restore
from rag.cli.keys import app
from rag.runtime.redis import open_redis
from tests.cli.test_backup import backed_up, quiet
from tests.redis_server import running_redis


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running_redis(tmp_path_factory.mktemp("r")) as found:
        yield found


@pytest.fixture
def short():
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        yield Path(folder)


@pytest.fixture
def keys(url, monkeypatch):
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("RAG_KEY_PEPPER", "p" * 32)
    return lambda *words: CliRunner().invoke(app, words)


def test_a_pipe_gets_the_key_and_nothing_else(keys, url, tenant):
    made = keys(
        "create", "--tenant", tenant, "--name", "ci", "--scope", "query", "--scope", "ingest", "--expires", "30d"
    )
    assert made.exit_code == 0
    key = parse(made.stdout.removesuffix("\n"))
    assert "shown this once" in made.stderr
    assert key.text not in made.stderr

    async def kept():
        async with open_redis(url) as client:
            return await RedisKeys(client, b"p" * 32).find(key.digest(b"p" * 32))

    record = asyncio.run(kept())
    assert (record.tenant, record.name, record.scopes) == (tenant, "ci", {"query", "ingest"})
    assert record.expires_ms - record.created_ms == 30 * 86_400_000
    assert record.id in made.stderr


def test_programs_get_one_line_of_json(keys, tenant):
    made = keys("create", "--tenant", tenant, "--name", "x", "--scope", "operator", "--json")
    row = json.loads(made.stdout)
    assert made.stdout.count("\n") == 1
    assert not made.stderr
    secret = row.pop("secret")
    assert parse(secret)
    assert row["scopes"] == ["operator"]
    listed = keys("list", "--tenant", tenant, "--json").stdout
    assert json.loads(listed) == row
    assert secret not in listed


def test_a_key_may_query_when_nothing_is_said(keys, tenant):
    made = json.loads(keys("create", "--tenant", tenant, "--name", "x", "--json").stdout)
    assert (made["scopes"], made["expires_at"]) == (["query"], None)


def test_keys_are_listed_and_revoked(keys, tenant):
    ids = [json.loads(keys("create", "--tenant", tenant, "--name", f"n{n}", "--json").stdout)["id"] for n in range(3)]
    for _ in range(2):
        revoked = keys("revoke", ids[1], "--tenant", tenant)
        assert (revoked.exit_code, revoked.stdout) == (0, f"revoked  {ids[1]}  n1\n")
    rows = [json.loads(row) for row in keys("list", "--tenant", tenant, "--json").stdout.splitlines()]
    assert {row["id"] for row in rows if row["revoked_at"]} == {ids[1]}
    table = keys("list", "--tenant", tenant).stdout
    assert "revoked 2" in table
    assert table.count("good") == 2


def test_a_foreign_key_and_an_unknown_one_are_told_alike(keys, tenant):
    made = json.loads(keys("create", "--tenant", tenant, "--name", "x", "--json").stdout)["id"]
    told = [keys("revoke", key_id, "--tenant", "another") for key_id in (made, "key_unknown")]
    assert [each.exit_code for each in told] == [1, 1]
    assert told[0].stderr == told[1].stderr
    assert "KEY_NOT_FOUND" in told[0].stderr


def test_a_tenant_without_keys_is_told_how_to_make_one(keys, tenant):
    listed = keys("list", "--tenant", tenant)
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "keys create" in listed.stderr


BAD = [
    (("create", "--name", ""), 1, "BAD_KEY_NAME"),
    (("create", "--name", "x", "--expires", "soon"), 1, "BAD_DURATION"),
    (("create", "--name", "x", "--expires", "9999999999w"), 1, "BAD_TTL"),
    (("create", "--name", "x", "--tenant", "a:b"), 1, "BAD_ID"),
    (("create", "--name", "x", "--scope", "internal"), 2, "internal"),
    (("create",), 2, "--name"),
    (("revoke", "a:b"), 1, "BAD_ID"),
]


@pytest.mark.parametrize(("words", "code", "told"), BAD)
def test_what_is_refused(keys, words, code, told):
    done = keys(*words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert told in done.stderr


def test_another_pepper_makes_no_keys_that_open_nothing(keys, monkeypatch, tenant):
    keys("create", "--tenant", tenant, "--name", "x")
    monkeypatch.setenv("RAG_KEY_PEPPER", "q" * 32)
    done = keys("create", "--tenant", tenant, "--name", "x")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "PEPPER_DIFFERS" in done.stderr


def test_without_a_redis_it_says_what_to_do_and_makes_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("REDIS_URL", "")
    done = CliRunner().invoke(app, ["create", "--name", "x", "--data-dir", str(tmp_path)])
    assert done.exit_code != 0
    assert not done.stdout
    assert "ragmesh up" in done.stderr
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
    assert "hunter2" not in CliRunner().invoke(app, ["list"]).stderr


def test_the_data_folder_has_redis_and_pepper_by_default(monkeypatch, tmp_path_factory):
    data = tmp_path_factory.mktemp("d")
    monkeypatch.setenv("REDIS_URL", "")
    with running_redis(data / "redis"):
        made = CliRunner().invoke(app, ["create", "--name", "x", "--data-dir", str(data)])
        assert made.exit_code == 0, made.stderr
    assert len(load_pepper(data, SecretStr(""))) == 64


def test_a_backup_brings_the_keys_back(keys, short, monkeypatch):
    data, restored = short / "data", short / "restored"
    monkeypatch.setenv("RAG_KEY_PEPPER", "")

    async def found(folder, url, text):
        async with open_redis(url) as client:
            pepper = load_pepper(folder, SecretStr(""))
            return await RedisKeys(client, pepper).find(parse(text).digest(pepper))

    with running_redis(data / "redis") as url:
        monkeypatch.setenv("REDIS_URL", url)
        made = json.loads(keys("create", "--name", "x", "--json", "--data-dir", str(data)).stdout)
        asyncio.run(backed_up(short / "backup", data, url))
    asyncio.run(restore(short / "backup", restored, quiet))
    assert stat.S_IMODE((restored / FILE).stat().st_mode) == 0o600
    with running_redis(restored / "redis") as url:
        assert asyncio.run(found(restored, url, made["secret"])).id == made["id"]
