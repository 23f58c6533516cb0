"""The steps that Redis must take as one: each script is a transaction, and repeating one has no second effect."""

from __future__ import annotations

ADD = """
-- KEYS job, events, jobs, queue; ARGV job json, upload json, score, job id, tenant
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'job', ARGV[1], 'upload', ARGV[2], 'state', 'queued', 'sequence', 1, 'fence', 0, 'attempts', 0)
redis.call('XADD', KEYS[2], '1-0', 'job', ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[4])
redis.call('XADD', KEYS[4], '*', 'tenant', ARGV[5], 'job', ARGV[4])
return 1
"""

RECLAIM = """
-- KEYS queue; ARGV group, consumer, least idle ms. Returns an entry whose worker is silent: id, tenant, job id.
-- The replies of Redis 6.2 (which still lists deleted entries) and 7 differ: here they become one.
local cursor = '0-0'
repeat
  local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], cursor, 'COUNT', 1, 'JUSTID')
  for _, id in ipairs(reply[2]) do
    local found = id and redis.call('XRANGE', KEYS[1], id, id) or {}
    if #found == 1 then return {id, found[1][2][2], found[1][2][4]} end
    if id then redis.call('XACK', KEYS[1], ARGV[1], id) end
  end
  cursor = reply[1]
until cursor == '0-0'
return false
"""

BEGIN = """
-- KEYS job, queue; ARGV group, entry, most attempts, nonce. Takes the job up: a later write must show the new fence.
local kept = redis.call('HMGET', KEYS[1], 'job', 'upload', 'state', 'attempts', 'fence', 'holder', 'exhausted')
if not kept[1] or kept[3] == 'ready' or kept[3] == 'failed' then
  redis.call('XACK', KEYS[2], ARGV[1], ARGV[2])
  redis.call('XDEL', KEYS[2], ARGV[2])
  return false
end
if kept[6] == ARGV[4] then return {tonumber(kept[5]), tonumber(kept[4]), tonumber(kept[7]), kept[1], kept[2]} end
local fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
local exhausted = tonumber(kept[4]) >= tonumber(ARGV[3])
local attempts = exhausted and tonumber(kept[4]) or redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'holder', ARGV[4], 'exhausted', exhausted and 1 or 0)
return {fence, attempts, exhausted and 1 or 0, kept[1], kept[2]}
"""

RENEW = """
-- KEYS job, queue; ARGV fence, group, entry, consumer
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
return #redis.call('XCLAIM', KEYS[2], ARGV[2], ARGV[4], 0, ARGV[3], 'JUSTID')
"""

WRITE = """
-- KEYS job, events, queue, jobs; ARGV fence, job json, state, group, entry, ms to keep (0: not final), oldest score
local kept = redis.call('HMGET', KEYS[1], 'fence', 'job', 'state')
if kept[1] ~= ARGV[1] then return 0 end
if kept[2] == ARGV[2] then return 1 end
if kept[3] == 'ready' or kept[3] == 'failed' then return 0 end
local sequence = redis.call('HINCRBY', KEYS[1], 'sequence', 1)
redis.call('HSET', KEYS[1], 'job', ARGV[2], 'state', ARGV[3])
redis.call('XADD', KEYS[2], sequence .. '-0', 'job', ARGV[2])
if ARGV[6] ~= '0' then
  redis.call('XACK', KEYS[3], ARGV[4], ARGV[5])
  redis.call('XDEL', KEYS[3], ARGV[5])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[7])
end
return 1
"""

RELEASE = """
-- KEYS job, events, queue; ARGV fence, job json, group, entry, tenant, job id
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
redis.call('HINCRBY', KEYS[1], 'fence', 1)
redis.call('HINCRBY', KEYS[1], 'attempts', -1)
local sequence = redis.call('HINCRBY', KEYS[1], 'sequence', 1)
redis.call('HSET', KEYS[1], 'job', ARGV[2], 'state', 'queued')
redis.call('XADD', KEYS[2], sequence .. '-0', 'job', ARGV[2])
redis.call('XACK', KEYS[3], ARGV[3], ARGV[4])
redis.call('XDEL', KEYS[3], ARGV[4])
redis.call('XADD', KEYS[3], '*', 'tenant', ARGV[5], 'job', ARGV[6])
return 1
"""
