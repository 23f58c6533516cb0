"""The cache of answers: an answer comes from it exactly when it is what would be answered now."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from rag.runtime.errors import Unavailable
from rag.runtime.redis import open_redis
from services.generator.adapters.redis_answers import RedisAnswers, decoded, encoded
from services.generator.caching.entries import Kept, Stamp
from services.generator.caching.freshness import Check, Freshness
from services.generator.caching.key import look, normalised
from services.generator.question import Mode, Role, Turn
from tests.generator.answers_made import Room, made, question, source

STAMP = Stamp("index-1", "run/1", 1)
LOOKED = look(question("why"), (), STAMP)


@pytest.fixture
def room(redis: Redis, tenant: str) -> Room:
    room = Room(redis, tenant)
    for name, text in {"sky": "sky blue", "sea": "sea blue", "pear": "pear green", "leaf": "leaf green"}.items():
        room.library.commit(name, text)
    return room


async def test_an_answer_comes_back_as_it_was(room: Room) -> None:
    assert await room.recall("sky blue") is None
    kept = await room.fill("sky blue")
    assert await room.recall(" sky\n blue ") == kept
    assert await room.recall("Sky blue") is None
    assert room.library.searches == 0


async def test_an_update_ends_exactly_the_answers_that_used_the_document(room: Room) -> None:
    for text in ("sky blue", "green"):
        await room.fill(text)
    room.library.commit("sky", "sky grey blue")
    assert await room.recall("sky blue") is None
    assert await room.recall("green")
    assert not await room.redis.exists(*await keys_with(room, b"grey"), "rag:none")


async def keys_with(room: Room, text: bytes) -> list[bytes]:
    keys = [key async for key in room.redis.scan_iter(f"rag:{room.tenant}:answer:*")]
    return [key for key in keys if text in (await room.redis.hget(key, "body") or b"")]


async def test_a_deletion_ends_exactly_the_answers_that_used_the_document(room: Room) -> None:
    for text in ("sky blue", "green"):
        await room.fill(text)
    room.library.delete("pear")
    assert await room.recall("green") is None
    assert await room.recall("sky blue")
    assert await keys_with(room, b"pear") == []


async def test_a_new_document_ends_the_answers_that_it_would_be_a_source_of(room: Room) -> None:
    for text in ("sky blue", "green"):
        await room.fill(text)
    room.library.commit("lake", "lake blue")
    assert await room.recall("sky blue") is None
    assert await room.recall("green")


async def test_an_answer_that_was_found_true_is_not_looked_into_again(room: Room) -> None:
    await room.fill("green")
    room.library.commit("lake", "lake blue")
    for _ in range(3):
        assert await room.recall("green")
    assert room.library.searches == 1
    room.library.delete("lake")
    assert await room.recall("green")
    assert room.library.searches == 1


@pytest.mark.parametrize(("text", "is_kept"), [("blue", False), ("yellow", True)])
async def test_more_new_documents_than_are_told_are_all_taken_into_account(
    room: Room, text: str, is_kept: bool
) -> None:
    await room.fill("sky blue")
    room.library.commit("first", text)
    for number in range(5):
        room.library.commit(f"later{number}", "yellow")
    assert bool(await room.recall("sky blue")) is is_kept


async def test_an_index_that_finds_otherwise_has_other_answers(room: Room) -> None:
    await room.fill("green")
    room.library.index = "index-2"
    assert await room.recall("green")  # what is known of the index is good enough for a moment
    assert await anew(room).recall("green") is None
    room.library.index = "index-1"
    assert await anew(room).recall("green")


def anew(room: Room) -> Room:
    """The same, seen by a process that has just begun."""
    return Room(room.redis, room.tenant, room.library)


async def test_an_answer_that_cannot_be_judged_is_made_anew_and_stays(room: Room) -> None:
    await room.fill("green")
    room.library.commit("lake", "lake blue")
    room.library.is_degraded = True
    assert await room.recall("green") is None
    room.library.is_degraded = False
    assert await room.recall("green")


async def test_tenants_never_share(room: Room, redis: Redis) -> None:
    other = Room(redis, f"{room.tenant}-2", room.library)
    await room.fill("green")
    assert await other.recall("green") is None
    await other.fill("green")
    assert await other.cache.forget(other.tenant, "pear") == 1
    assert await room.recall("green")


async def test_each_tenant_has_its_time_to_live(redis: Redis, room: Room) -> None:
    other = Room(redis, f"{room.tenant}-2", room.library, ttl_s=lambda tenant: 0 if tenant.endswith("-2") else 600)
    await room.fill("green")
    await other.fill("green")
    assert await other.kept_text() == b""
    lives = [await redis.ttl(key) async for key in redis.scan_iter(f"rag:{room.tenant}:answer*")]
    assert len(lives) == 4
    assert all(590 < life <= 600 for life in lives)


async def test_answers_whose_time_is_over_leave_the_set_of_their_document(redis: Redis, room: Room) -> None:
    await room.fill("green")
    name = f"rag:{room.tenant}:answers_of:pear"
    await redis.zadd(name, {"old": 1})
    await room.fill("pear green")
    assert await redis.zcard(name) == 2
    assert not await redis.zscore(name, "old")


async def test_an_answer_that_is_too_large_is_not_kept(room: Room) -> None:
    room.library.commit("long", "long " * 60_000)
    await room.fill("long")
    assert await room.recall("long") is None
    assert await room.kept_text() == b""


async def test_only_questions_without_a_conversation_are_compared_by_meaning(redis: Redis, tenant: str) -> None:
    noted: list[str] = []

    class Near:
        async def nearest(self, tenant, bucket, question_text):
            return noted[0] if noted else None

        async def note(self, tenant, bucket, key, question_text):
            noted.append(key)

    room, history = Room(redis, tenant, alike=Near()), (Turn(Role.USER, "and the sea?"),)
    room.library.commit("sky", "sky blue")
    await room.fill("sky blue", history=history)
    assert noted == []
    kept = await room.fill("sky blue")
    asked = question("the colour of the sky")
    looked = await room.begin(asked)
    assert await room.cache.recall(tenant, looked, asked) is None
    assert await room.cache.recall_alike(tenant, looked, asked) == kept
    assert await room.cache.recall_alike(tenant, looked, replace(asked, history=history)) is None
    room.library.commit("sky", "sky grey")
    looked = await room.begin(asked)
    assert await room.cache.recall_alike(tenant, looked, asked) is None


# What an answer depends on


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "What?"},
        {"text": "what!"},
        {"top_k": 4},
        {"mode": Mode.DENSE},
        {"min_score": None},
        {"min_score": 0.3},
        {"filter": b"\n\x01a"},
        {"max_tokens": 10},
        {"temperature": 0.3},
        {"history": (Turn(Role.USER, "a"),)},
        {"history": (Turn(Role.ASSISTANT, "a"),)},
        {"history": (Turn(Role.USER, "a"), Turn(Role.USER, "b"))},
        {"history": (Turn(Role.USER, "ab"),)},
    ],
)
def test_questions_that_differ_in_anything_have_other_keys(fields) -> None:
    one, other = question("what?"), replace(question("what?"), **fields)
    first, second = look(one, ("p", "m"), STAMP), look(other, ("p", "m"), STAMP)
    assert first.key != second.key
    assert (first.bucket == second.bucket) is ("text" in fields)


def test_all_conversations_have_other_keys() -> None:
    turns = [
        (),
        (Turn(Role.USER, "ab"),),
        (Turn(Role.USER, "a"), Turn(Role.USER, "b")),
        (Turn(Role.ASSISTANT, "ab"),),
        (Turn(Role.USER, "b"), Turn(Role.USER, "a")),
    ]
    assert len({look(question("q", history=history), (), STAMP).key for history in turns}) == len(turns)


@pytest.mark.parametrize("ground", [("p", "m2"), ("p2", "m"), ("pm",), ("p", "m", ""), ()])
def test_answers_of_another_prompt_or_model_have_other_keys(ground: tuple[str, ...]) -> None:
    first, second = look(question("q"), ("p", "m"), STAMP), look(question("q"), ground, STAMP)
    assert first.key != second.key
    assert first.bucket != second.bucket
    assert first.bucket != look(question("q"), ("p", "m"), replace(STAMP, index="index-2")).bucket


@given(st.text())
def test_white_space_is_all_that_two_equal_questions_differ_in(text: str) -> None:
    assert normalised(f"  {text}\n") == normalised(text) == normalised(normalised(text))


def test_accents_may_be_coded_in_two_ways() -> None:
    assert normalised("caf\u00e9") == normalised("cafe\u0301") != normalised("cafe")


# What is kept


async def test_an_entry_is_read_as_it_was_kept(redis: Redis, tenant: str) -> None:
    answers, entry = RedisAnswers(redis, 60), made((source("d", 1, "sky"), source("e", 7, "sea", 2)), LOOKED, "sky")
    assert (await answers.read(tenant, "k")).kept is None
    assert await answers.keep(tenant, "k", entry, 60)
    kept = (await answers.read(tenant, "k")).kept
    assert kept is not None
    assert kept.entry == entry


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", b"[2,1,2,3,4,5,6,7]", b'[1,"",[{}],[],"","","stop",{}]', b"7"]
)
def test_what_cannot_be_understood_is_not_there(body: bytes) -> None:
    assert decoded(b'["i","s",1]', body) is None


def test_a_stamp_that_cannot_be_understood_is_none() -> None:
    body = encoded(made((source("d", 1, "sky"),), LOOKED, "sky"))
    assert body is not None
    assert decoded(b'["i","s",1]', body) is not None
    assert decoded(b'["i"]', body) is None


def test_half_a_character_is_not_kept() -> None:
    assert encoded(made((source("d", 1, "sky\ud83d"),), LOOKED, "sky")) is None


async def test_only_the_entry_that_was_read_is_settled(redis: Redis, tenant: str) -> None:
    answers, later = RedisAnswers(redis, 60), replace(STAMP, state="run/2")
    first, second = (made((source("d", version, "sky"),), LOOKED, "sky") for version in (1, 2))
    await answers.keep(tenant, "k", first, 60)
    read = (await answers.read(tenant, "k")).kept
    assert read
    await answers.settle(tenant, "k", read, later)
    assert (await answers.read(tenant, "k")).kept == Kept(replace(first, stamp=later), read.mark)
    await answers.keep(tenant, "k", second, 60)
    for stamp in (later, None):
        await answers.settle(tenant, "k", read, stamp)
        again = (await answers.read(tenant, "k")).kept
        assert again is not None
        assert again.entry == second
    await answers.settle(tenant, "k", again, None)
    assert (await answers.read(tenant, "k")).kept is None
    await answers.settle(tenant, "k", again, later)
    assert (await answers.read(tenant, "k")).kept is None


async def test_settling_leaves_the_time_to_live(redis: Redis, tenant: str) -> None:
    answers = RedisAnswers(redis, 60)
    await answers.keep(tenant, "k", made((source("d", 1, "sky"),), LOOKED, "sky"), 60)
    read = (await answers.read(tenant, "k")).kept
    assert read
    await answers.settle(tenant, "k", read, replace(STAMP, state="run/2"))
    assert 0 < await redis.ttl(f"rag:{tenant}:answer:k") <= 60


# When something is away


async def test_a_catalogue_that_is_away_is_passed_by(room: Room) -> None:
    await room.fill("green")
    room.library.error = Unavailable("away", "AWAY")
    assert await room.recall("green")  # nothing changed, and Redis says so
    room.library.commit("lake", "lake blue")
    assert await room.recall("green") is None  # nobody can say what the new document is to it
    assert await anew(room).begin(question("green")) is None
    with pytest.raises(Unavailable):
        await room.cache.forget(room.tenant, "pear")


async def test_a_redis_that_is_away_is_passed_by(room: Room, logged: Callable[[], list[str]]) -> None:
    async with open_redis("redis://127.0.0.1:1") as nowhere:
        away = Room(nowhere, room.tenant, room.library)
        assert await away.recall("green") is None
        with pytest.raises(Unavailable):
            await away.cache.forget(room.tenant, "pear")
    assert logged() == ["answer_cache_bypassed"]


async def test_a_redis_that_hangs_is_passed_by(room: Room) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as never_accepts:
        async with open_redis(f"redis://127.0.0.1:{never_accepts.getsockname()[1]}") as hanging, asyncio.timeout(5):
            assert await Room(hanging, room.tenant, room.library).recall("green") is None


async def test_a_store_that_began_anew_has_another_index(room: Room) -> None:
    await room.fill("green")
    room.library.run, room.library.index = "f" * 40, "index-of-that-run"
    # The retriever speaks of another run than Redis does: who is right is not known, and nothing is taken for true.
    room.library.commit("lake", "lake blue")
    assert await room.recall("green") is None


class Slow:
    """A catalogue that does not answer."""

    async def check(self, tenant, versions, since) -> Check:
        await asyncio.Event().wait()


async def test_a_catalogue_that_does_not_answer_is_given_up() -> None:
    with pytest.raises(Unavailable) as caught:
        await Freshness(Slow()).index("t", "")
    assert caught.value.reason == "CATALOGUE_LATE"


async def test_the_index_is_asked_for_now_and_then(room: Room) -> None:
    moments = iter((0.0, 0.0, 4.9, 5.1, 5.1, 9.9))
    freshness = Freshness(room.library, lambda: next(moments))
    for _ in range(4):
        assert await freshness.index("t", "") == "index-1"
    assert room.library.checks == 2


async def test_another_run_of_the_store_is_another_index(room: Room) -> None:
    freshness = Freshness(room.library)
    await freshness.index("t", "")
    room.library.run = "another"
    await freshness.index("t", "another")
    assert (room.library.checks, freshness.run) == (2, "another")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    lines: list[str] = []

    class Log:
        def warning(self, event: str, **fields: object) -> None:
            assert "green" not in repr(fields)
            lines.append(event)

    monkeypatch.setattr("services.generator.caching.answers.log", Log())
    return lambda: lines
