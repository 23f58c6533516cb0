"""Answers and opinions about them in Redis: a text for each answer, a hash for each opinion, and sets that order them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from rag.runtime.redis import reached
from services.gateway.feedback.answered import Answered
from services.gateway.feedback.feedback import Opinion, Rating, Totals

_AWAY = ("Feedback cannot be reached.", "FEEDBACK_UNAVAILABLE")
_ANSWERS_S = 30 * 24 * 3600
_MOST_ANSWERS = 100_000
_OPINIONS_S = 365 * 24 * 3600
_MOST_OPINIONS = 100_000
_DROPPED_AT_ONCE = 100
_MAX_DOCUMENTS = 100
TOTALS = "rag:feedback_totals"
"""Hash: how many opinions of all tenants there are of each rating."""

# KEYS: the answer, all answers of the tenant. ARGV: the answer, its id, what the keys of answers begin with, seconds to live, the most
# answers, how many are dropped at once.
_NOTE = """
local now = redis.call('TIME')[1]
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4])
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. (now - ARGV[4]))
local over = redis.call('ZCARD', KEYS[2]) - ARGV[5]
if over > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, math.min(over, ARGV[6]) - 1)) do
    redis.call('UNLINK', ARGV[3] .. id)
    redis.call('ZREM', KEYS[2], id)
  end
end
"""

# KEYS: the answer, the opinion, all opinions of the tenant, those that are up, those that are down, the totals. ARGV: the answer's id, up or
# down, the comment, what the keys of opinions begin with, seconds to live, the most opinions, how many are dropped at once. An answer whose
# time is over may still be spoken of again. Each opinion gets a moment of its own, by which pages are found. Returns the totals, and nothing
# when there is no such answer.
_SAY = """
local answered = redis.call('GET', KEYS[1]) or redis.call('HGET', KEYS[2], 'answered')
if not answered then return {} end
local function drop(id)
  if redis.call('ZREM', KEYS[4], id) == 1 then redis.call('HINCRBY', KEYS[6], 'up', -1) end
  if redis.call('ZREM', KEYS[5], id) == 1 then redis.call('HINCRBY', KEYS[6], 'down', -1) end
  redis.call('ZREM', KEYS[3], id)
  redis.call('UNLINK', ARGV[4] .. id)
end
drop(ARGV[1])
local time = redis.call('TIME')
local said = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
if last then said = math.max(said, last + 1) end
local moment = string.format('%.0f', said)
redis.call('HSET', KEYS[2], 'rating', ARGV[2], 'comment', ARGV[3], 'answered', answered, 'said_ms', moment)
redis.call('ZADD', KEYS[3], moment, ARGV[1])
redis.call('ZADD', ARGV[2] == 'up' and KEYS[4] or KEYS[5], moment, ARGV[1])
redis.call('HINCRBY', KEYS[6], ARGV[2], 1)
for at = 2, 5 do redis.call('EXPIRE', KEYS[at], ARGV[5]) end
local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('(%.0f', said - ARGV[5] * 1000), 'LIMIT', 0, ARGV[7])
for _, id in ipairs(old) do drop(id) end
local over = redis.call('ZCARD', KEYS[3]) - ARGV[6]
if over > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, math.min(over, ARGV[7]) - 1)) do drop(id) end
end
return redis.call('HMGET', KEYS[6], 'up', 'down')
"""


def answered_key(tenant: str, answer_id: str) -> str:
    """Return the key of an answer that was given (text: JSON of question and documents). It expires."""
    return f"rag:{tenant}:answered:{answer_id}"


def answers_key(tenant: str) -> str:
    """Return the key of a tenant's answers (sorted set: id, by when it was given in seconds). It expires."""
    return f"rag:{tenant}:answered"


def opinion_key(tenant: str, answer_id: str) -> str:
    """Return the key of an opinion (hash: rating, comment, answered, said_ms)."""
    return f"rag:{tenant}:feedback:{answer_id}"


def opinions_key(tenant: str, rating: Rating | None = None) -> str:
    """Return the key of a tenant's opinions, of one rating or of both (sorted set: the answer's id, by said_ms)."""
    return f"rag:{tenant}:feedback_{rating}" if rating else f"rag:{tenant}:feedback"


class RedisFeedback:
    """Answers are kept for 30 days and opinions for a year, the newest 100,000 of a tenant; what is older goes when newer comes.

    Args:
        redis: A client that gives bytes.
        most_answers: The most answers of a tenant.
        most_opinions: The most opinions of a tenant.
    """

    def __init__(self, redis: Redis, most_answers: int = _MOST_ANSWERS, most_opinions: int = _MOST_OPINIONS) -> None:
        self._redis = redis
        self._most_answers = most_answers
        self._most_opinions = most_opinions
        self._note = redis.register_script(_NOTE)
        self._say = redis.register_script(_SAY)

    async def note(self, tenant: str, answered: Answered) -> None:
        """Keep an answer; Unavailable when it cannot be written."""
        body = orjson.dumps([_text(answered.question), answered.document_ids[:_MAX_DOCUMENTS]])
        keys = [answered_key(tenant, answered.answer_id), answers_key(tenant)]
        limits = [_ANSWERS_S, self._most_answers, _DROPPED_AT_ONCE]
        with reached(*_AWAY):
            await self._note(keys=keys, args=[body, answered.answer_id, answered_key(tenant, ""), *limits])

    async def say(self, tenant: str, answer_id: str, rating: Rating, comment: str) -> Totals | None:
        """Keep an opinion and return what there is now; None when the tenant has no such answer."""
        sets = [opinions_key(tenant), opinions_key(tenant, Rating.UP), opinions_key(tenant, Rating.DOWN)]
        keys = [answered_key(tenant, answer_id), opinion_key(tenant, answer_id), *sets, TOTALS]
        said = [answer_id, rating.value, _text(comment), opinion_key(tenant, "")]
        with reached(*_AWAY):
            found = await self._say(keys=keys, args=[*said, _OPINIONS_S, self._most_opinions, _DROPPED_AT_ONCE])
        return _totals(*found) if found else None

    async def newest(self, tenant: str, rating: Rating | None, before_ms: int | None, most: int) -> Sequence[Opinion]:
        """Return opinions said before a moment, newest first."""
        end = "+inf" if before_ms is None else f"({before_ms}"
        with reached(*_AWAY):
            ids: Any = await self._redis.zrevrangebyscore(opinions_key(tenant, rating), end, "-inf", start=0, num=most)
            async with self._redis.pipeline(transaction=False) as all_at_once:
                for answer_id in ids:
                    all_at_once.hgetall(opinion_key(tenant, answer_id.decode()))
                found = await all_at_once.execute() if ids else []
        return [_opinion(answer_id.decode(), one) for answer_id, one in zip(ids, found, strict=True) if one]

    async def totals(self) -> Totals:
        """Count the opinions of all tenants."""
        with reached(*_AWAY):
            found = await self._redis.hmget(TOTALS, ["up", "down"])
        return _totals(*found)


def _totals(up: Any, down: Any) -> Totals:
    return Totals(int(up or 0), int(down or 0))


def _opinion(answer_id: str, kept: dict[bytes, bytes]) -> Opinion:
    question, documents = orjson.loads(kept[b"answered"])
    answered = Answered(answer_id, question, tuple(documents))
    said: Any = kept[b"said_ms"]
    return Opinion(Rating(kept[b"rating"].decode()), kept[b"comment"].decode(), answered, int(said))


def _text(text: str) -> str:
    # JSON may hold half a character, which no store of texts can.
    return text.encode(errors="replace").decode()
