"""The state of a tenant's catalogue in Redis.

The retriever alone writes it, in the step that commits or deletes. Who keeps something made from documents reads it in one step
with what is kept: so what is given out is never older than the question, at the price of one round trip.
"""

from __future__ import annotations

# KEYS: changes. Sets `state`. Not the count of changes alone is the state: a Redis that lost its last writes counts the same numbers
# again, but is another run.
STATE = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local state = run .. '/' .. (redis.call('GET', KEYS[1]) or '0')
"""


def changes_key(tenant: str) -> str:
    """Return the key of a tenant's count of commits and deletions: what was read before it grew may be old."""
    return f"rag:{tenant}:changes"


def commits_key(tenant: str) -> str:
    """Return the key of a tenant's count of commits."""
    return f"rag:{tenant}:commits"


def run_of(state: str) -> str:
    """Return the run of Redis that a state is of."""
    return state.partition("/")[0]
