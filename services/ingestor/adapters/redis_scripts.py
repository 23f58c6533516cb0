"""The steps that Redis must take as one: each script is a transaction, and repeating one has no second effect.

Their keys depend on what they find (the next job of a document, say), so they are made here and not passed: these scripts are
for one Redis, not for a cluster.
"""

from __future__ import annotations

from services.ingestor.adapters.redis_ended_jobs import ENDED
from services.ingestor.adapters.redis_leftovers import LEFTOVERS
from services.ingestor.adapters.redis_records import GROUP, QUEUE, UNFINISHED

NAMES = f"""
local QUEUE, GROUP, UNFINISHED, ENDED, LEFTOVERS = '{QUEUE}', '{GROUP}', '{UNFINISHED}', '{ENDED}', '{LEFTOVERS}'
"""

STEPS = """
local FINAL = {ready = true, failed = true, cancelled = true, dead = true}

local function key(tenant, ...) return table.concat({'rag', tenant, ...}, ':') end

local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function enqueue(tenant, id)
  local entry = redis.call('XADD', QUEUE, '*', 'tenant', tenant, 'job', id)
  redis.call('HSET', key(tenant, 'job', id), 'entry', entry)
end

local function drop(entry)
  redis.call('XACK', QUEUE, GROUP, entry)
  redis.call('XDEL', QUEUE, entry)
end

local function dequeue(tenant, id)
  local job = key(tenant, 'job', id)
  local entry = redis.call('HGET', job, 'entry')
  if entry then drop(entry) end
  redis.call('HDEL', job, 'entry')
end

-- One job of a document at a time is in the queue; the others wait for their turn.
local function line_up(tenant, id, document, accepted)
  redis.call('ZADD', UNFINISHED, accepted, tenant .. '/' .. id)
  redis.call('ZADD', key(tenant, 'turns', document), accepted, id)
  if redis.call('SETNX', key(tenant, 'turn', document), id) == 1 then enqueue(tenant, id) end
end

local function step_out(tenant, id, document)
  local turn, turns = key(tenant, 'turn', document), key(tenant, 'turns', document)
  dequeue(tenant, id)
  redis.call('ZREM', UNFINISHED, tenant .. '/' .. id)
  redis.call('ZREM', turns, id)
  if redis.call('GET', turn) ~= id then return end
  local following = redis.call('ZRANGE', turns, 0, 0)[1]
  if not following then redis.call('DEL', turn) return end
  redis.call('SET', turn, following)
  -- One that is being called off is in the queue already.
  if not redis.call('HGET', key(tenant, 'job', following), 'entry') then enqueue(tenant, following) end
end

local function list(tenant, id, accepted, was, state)
  if was == state then return end
  if was then redis.call('ZREM', key(tenant, 'jobs', was), id) end
  redis.call('ZADD', key(tenant, 'jobs', state), accepted, id)
end

-- The next event of a job, which is the job as it is now.
local function tell(tenant, id, json, state)
  local job = key(tenant, 'job', id)
  local kept = redis.call('HMGET', job, 'state', 'accepted_us')
  local sequence = redis.call('HINCRBY', job, 'sequence', 1)
  redis.call('HSET', job, 'job', json, 'state', state)
  redis.call('XADD', key(tenant, 'job', id, 'events'), sequence .. '-0', 'job', json)
  list(tenant, id, kept[2], kept[1], state)
  return sequence
end

local function lease(job, exhausted, superseded)
  local kept = redis.call('HMGET', job, 'fence', 'attempts', 'job', 'upload', 'accepted_us', 'password', 'cancel', 'begun', 'entry')
  return {kept[1], kept[2], exhausted and 1 or 0, superseded and 1 or 0, kept[3], kept[4], kept[5], kept[6] or '',
    kept[7] or '0', kept[8] or '0', kept[9] or ''}
end
"""

PRELUDE = NAMES + STEPS

ADD = (
    PRELUDE
    + """
-- ARGV tenant, job id, document, job json, upload json, password, request or '', its fingerprint, most unfinished jobs
local tenant, id, document = ARGV[1], ARGV[2], ARGV[3]
local job, jobs = key(tenant, 'job', id), key(tenant, 'jobs')
if redis.call('EXISTS', job) == 1 then return {'added', redis.call('HGET', job, 'job')} end
local request = key(tenant, 'request', ARGV[7])
if ARGV[7] ~= '' then
  local held = redis.call('HMGET', request, 'job', 'fingerprint')
  local kept = held[1] and redis.call('HGET', key(tenant, 'job', held[1]), 'job')
  if kept then return {held[2] == ARGV[8] and 'added' or 'other', kept} end
end
if redis.call('ZCARD', UNFINISHED) >= tonumber(ARGV[9]) then return {'full'} end
-- No two of a tenant are accepted in the same microsecond, and none before another, whatever the clock does.
local newest = redis.call('ZREVRANGE', jobs, 0, 0, 'WITHSCORES')[2]
local accepted = string.format('%.0f', math.max(micros(), (tonumber(newest) or 0) + 1))
redis.call('HSET', job, 'job', ARGV[4], 'upload', ARGV[5], 'state', 'queued', 'sequence', 1, 'fence', 0, 'attempts', 0,
  'document', document, 'accepted_us', accepted)
if ARGV[6] ~= '' then redis.call('HSET', job, 'password', ARGV[6]) end
if ARGV[7] ~= '' then
  redis.call('HSET', job, 'request', ARGV[7])
  redis.call('DEL', request)
  redis.call('HSET', request, 'job', id, 'fingerprint', ARGV[8])
end
redis.call('XADD', key(tenant, 'job', id, 'events'), '1-0', 'job', ARGV[4])
redis.call('ZADD', jobs, accepted, id)
redis.call('ZADD', key(tenant, 'made', document), accepted, id)
redis.call('PERSIST', key(tenant, 'made', document))
list(tenant, id, accepted, false, 'queued')
line_up(tenant, id, document, accepted)
return {'added', ARGV[4]}
"""
)

RECLAIM = (
    NAMES
    + """
-- ARGV consumer, least idle ms. Returns an entry whose worker is silent: id, tenant, job id.
-- The replies of Redis 6.2 (which still lists deleted entries) and 7 differ: here they become one.
local cursor = '0-0'
repeat
  local reply = redis.call('XAUTOCLAIM', QUEUE, GROUP, ARGV[1], ARGV[2], cursor, 'COUNT', 1, 'JUSTID')
  for _, id in ipairs(reply[2]) do
    local found = id and redis.call('XRANGE', QUEUE, id, id) or {}
    if #found == 1 then return {id, found[1][2][2], found[1][2][4]} end
    if id then redis.call('XACK', QUEUE, GROUP, id) end
  end
  cursor = reply[1]
until cursor == '0-0'
return false
"""
)

BEGIN = (
    PRELUDE
    + """
-- ARGV entry, tenant, job id, consumer, most attempts, nonce. Takes the job up: a later write must show the new fence.
local entry, tenant, id = ARGV[1], ARGV[2], ARGV[3]
local job = key(tenant, 'job', id)
local kept = redis.call('HMGET', job, 'state', 'entry', 'holder', 'attempts', 'cancel', 'held_until', 'document', 'accepted_us')
if not kept[1] or FINAL[kept[1]] or kept[2] ~= entry then drop(entry) return false end
local superseded = false
for _, later in ipairs(redis.call('ZRANGEBYSCORE', key(tenant, 'made', kept[7]), '(' .. kept[8], '+inf')) do
  superseded = superseded or redis.call('HGET', key(tenant, 'job', later), 'state') == 'ready'
end
if kept[3] == ARGV[6] then return lease(job, redis.call('HGET', job, 'exhausted') == '1', superseded) end
-- A worker that slept since it was given the entry has lost it to another.
local owner = redis.call('XPENDING', QUEUE, GROUP, entry, entry, 1)[1]
if not owner or owner[2] ~= ARGV[4] then return false end
if kept[5] and micros() < tonumber(kept[6]) then return false end
local exhausted = not kept[5] and tonumber(kept[4]) >= tonumber(ARGV[5])
redis.call('HINCRBY', job, 'fence', 1)
redis.call('HSET', job, 'holder', ARGV[6], 'exhausted', exhausted and '1' or '0')
if not kept[5] then
  redis.call('HSET', job, 'begun', 1)
  if not exhausted then redis.call('HINCRBY', job, 'attempts', 1) end
end
return lease(job, exhausted, superseded)
"""
)

RENEW = (
    NAMES
    + """
-- ARGV job key, fence, entry, consumer
if redis.call('HGET', ARGV[1], 'fence') ~= ARGV[2] then return 0 end
return #redis.call('XCLAIM', QUEUE, GROUP, ARGV[4], 0, ARGV[3], 'JUSTID')
"""
)

WRITE = (
    PRELUDE
    + """
-- ARGV tenant, job id, fence, job json, state, ms to keep it when it is final, ms to keep it when a request made it,
-- oldest score listed, 1 to tell of its end, ms for which a worker may not know yet that the job is not its own any more
local tenant, id, state = ARGV[1], ARGV[2], ARGV[5]
local job = key(tenant, 'job', id)
local kept = redis.call('HMGET', job, 'fence', 'job', 'state', 'document', 'request', 'begun')
if kept[1] ~= ARGV[3] then return 0 end
if kept[2] == ARGV[4] then return 1 end
if FINAL[kept[3]] then return 0 end
local sequence = tell(tenant, id, ARGV[4], state)
if not FINAL[state] then return 1 end
step_out(tenant, id, kept[4])
redis.call('HDEL', job, 'holder', 'cancel', 'held_until')
if state == 'ready' or state == 'cancelled' then redis.call('HDEL', job, 'password') end
local keep, made = kept[5] and ARGV[7] or ARGV[6], key(tenant, 'made', kept[4])
redis.call('PEXPIRE', job, keep)
redis.call('PEXPIRE', key(tenant, 'job', id, 'events'), keep)
if kept[5] then redis.call('PEXPIRE', key(tenant, 'request', kept[5]), keep) end
if redis.call('EXISTS', key(tenant, 'turn', kept[4])) == 0 then redis.call('PEXPIRE', made, ARGV[7]) end
for _, listed in ipairs({key(tenant, 'jobs'), key(tenant, 'jobs', state), made}) do
  redis.call('ZREMRANGEBYSCORE', listed, '-inf', ARGV[8])
end
local now = math.floor(micros() / 1000)
if state == 'cancelled' and kept[6] then
  local left = tenant .. '/' .. kept[4]
  redis.call('ZADD', LEFTOVERS, now, left, now + ARGV[10], left .. '/later')
end
if ARGV[9] == '1' then redis.call('ZADD', ENDED, now, tenant .. '/' .. id .. '/' .. sequence) end
return 1
"""
)

RELEASE = (
    PRELUDE
    + """
-- ARGV tenant, job id, fence, job json
local job = key(ARGV[1], 'job', ARGV[2])
if redis.call('HGET', job, 'fence') ~= ARGV[3] then return 0 end
redis.call('HINCRBY', job, 'fence', 1)
redis.call('HINCRBY', job, 'attempts', -1)
tell(ARGV[1], ARGV[2], ARGV[4], 'queued')
dequeue(ARGV[1], ARGV[2])
enqueue(ARGV[1], ARGV[2])
return 1
"""
)
