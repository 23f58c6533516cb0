"""Erasing what a cache keeps of a tenant, a page at a time: Redis serves the others in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

PAGE = 500

# KEYS: the digests of all that is kept (sorted set), the epoch. ARGV: what the keys begin with that digests end, how many at once, the
# epoch's seconds to live. The clock makes each epoch another one, and nothing is kept that was looked up in one before. Returns how many
# were looked at and how many erased.
ERASE_ALL = """
local time, erased = redis.call('TIME'), 0
redis.call('SET', KEYS[2], time[1] .. '.' .. time[2], 'EX', ARGV[3])
local digests = redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1)
for _, digest in ipairs(digests) do
  erased = erased + redis.call('UNLINK', ARGV[1] .. digest)
  redis.call('ZREM', KEYS[1], digest)
end
return {#digests, erased}
"""


async def in_pages(erase: Callable[[], Awaitable[tuple[int, int]]]) -> int:
    """Erase until nothing is left; return how many were erased.

    Args:
        erase: Looks at up to `PAGE` and returns how many it looked at and how many of them it erased.
    """
    looked_at, total = PAGE, 0
    while looked_at == PAGE:
        looked_at, erased = await erase()
        total += erased
    return total
