"""What is done to jobs from outside of their work, each in one step of Redis."""

from __future__ import annotations

from services.ingestor.adapters.redis_scripts import PRELUDE

TAKE_OVER = (
    PRELUDE
    + """
-- ARGV tenant, job id, us for which no worker follows. Takes a job from whoever has it, to call it off.
local job = key(ARGV[1], 'job', ARGV[2])
local kept = redis.call('HMGET', job, 'state', 'entry')
if not kept[1] then return false end
if FINAL[kept[1]] then return lease(job) end
redis.call('HINCRBY', job, 'fence', 1)
redis.call('HSET', job, 'cancel', 1, 'held_until', string.format('%.0f', micros() + ARGV[3]))
redis.call('HDEL', job, 'holder')
-- One that waits for its turn writes nothing any more, so it need not wait: a worker finds it if we die.
if not kept[2] then enqueue(ARGV[1], ARGV[2]) end
return lease(job)
"""
)

RETRY = (
    PRELUDE
    + """
-- ARGV tenant, job id, sequence that was read, job json, password or '', most unfinished jobs
local tenant, id = ARGV[1], ARGV[2]
local job = key(tenant, 'job', id)
local kept = redis.call('HMGET', job, 'state', 'sequence', 'document', 'accepted_us', 'request')
if kept[2] ~= ARGV[3] or (kept[1] ~= 'failed' and kept[1] ~= 'dead') then return 'changed' end
if redis.call('ZCARD', UNFINISHED) >= tonumber(ARGV[6]) then return 'full' end
redis.call('HSET', job, 'attempts', 0)
if ARGV[5] ~= '' then redis.call('HSET', job, 'password', ARGV[5]) end
for _, name in ipairs({job, key(tenant, 'job', id, 'events'), key(tenant, 'made', kept[3])}) do redis.call('PERSIST', name) end
if kept[5] then redis.call('PERSIST', key(tenant, 'request', kept[5])) end
tell(tenant, id, ARGV[4], 'queued')
line_up(tenant, id, kept[3], kept[4])
return 'queued'
"""
)

ERASE = (
    PRELUDE
    + """
-- ARGV tenant, job id, document. Erases a finished job; of one that expired the names are left.
local tenant, id = ARGV[1], ARGV[2]
local job = key(tenant, 'job', id)
local kept = redis.call('HMGET', job, 'state', 'request')
if kept[1] and not FINAL[kept[1]] then return 0 end
local request = kept[2] and key(tenant, 'request', kept[2])
if request and redis.call('HGET', request, 'job') == id then redis.call('DEL', request) end
redis.call('ZREM', key(tenant, 'jobs'), id)
for state in pairs(FINAL) do redis.call('ZREM', key(tenant, 'jobs', state), id) end
redis.call('ZREM', key(tenant, 'made', ARGV[3]), id)
redis.call('DEL', job, key(tenant, 'job', id, 'events'))
return 1
"""
)
