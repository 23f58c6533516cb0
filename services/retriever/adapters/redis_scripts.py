"""What the catalogue does to Redis in one step, as Lua. The keys are explained in `redis_keys`."""

from __future__ import annotations

# What the scripts below share. Their KEYS begin with: document, versions, open versions, erasures, deletions; their ARGV with:
# tenant/document, now in ms.
_RULES = """
local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function live_us() return tonumber(redis.call('HGET', KEYS[1], 'accepted_us') or '0') end

local function deleted_us()
  local known = tonumber(redis.call('HGET', KEYS[2], 'deleted_us') or '0')
  return math.max(known, tonumber(redis.call('GET', KEYS[2] .. ':deleted') or '0'))
end

local function refusal(accepted, fence)
  local text = string.format('%d', accepted)
  if accepted < live_us() or accepted <= deleted_us() or redis.call('EXISTS', KEYS[2] .. ':revoked:' .. text) == 1 then
    return 'VERSION_SUPERSEDED'
  end
  if fence < tonumber(redis.call('GET', KEYS[2] .. ':fence:' .. text) or '0') then return 'STALE_WRITER' end
  return false
end

local function is_switched(index, written)
  local live = redis.call('HGET', index, 'collection')
  return live and live ~= written
end

local function is_open(version) return redis.call('ZSCORE', KEYS[3], ARGV[1] .. '/' .. version) end

-- Ends the writing of a version that will never be live. Its writer may have written after the erasure of a deletion.
local function give_up(version)
  redis.call('ZREM', KEYS[3], ARGV[1] .. '/' .. version)
  redis.call('HDEL', KEYS[2], 'open:' .. version)
  redis.call('ZADD', KEYS[4], ARGV[2], ARGV[1] .. '/' .. version .. '-' .. version)
  if tonumber(version) <= tonumber(redis.call('HGET', KEYS[2], 'deleted_through') or '0') then
    redis.call('ZADD', KEYS[5], now_us(), ARGV[1])
  end
end

-- Keeps count of what is stored: of the documents whose place in the listing is not behind what was counted (see STORED).
local function count_stored(stored, place, documents, bytes)
  local through = redis.call('HGET', stored, 'through')
  if not (through and place) or through ~= 'all' and tonumber(place) > tonumber(through) then return end
  redis.call('HINCRBY', stored, 'documents', documents)
  redis.call('HINCRBY', stored, 'bytes', string.format('%d', documents * bytes)) -- a bare -0 is no integer to Redis
end

local function open_versions()
  local found, entries = {}, redis.call('HGETALL', KEYS[2])
  for at = 1, #entries, 2 do
    local version = string.match(entries[at], '^open:(%d+)$')
    if version then found[version] = entries[at + 1] end
  end
  return found
end
"""

# ARGV: ..., accepted_us (0 for now), fence, when its writer is given up, how long a fence is remembered.
# Returns a refusal, or '', the version and its accepted_us.
OPEN = (
    _RULES
    + """
local accepted, fence = tonumber(ARGV[3]), tonumber(ARGV[4])
if accepted == 0 then accepted = math.max(now_us(), live_us(), deleted_us() + 1) end
local refused = refusal(accepted, fence)
if refused then return {refused} end
local text = string.format('%d', accepted)
if fence > 0 then redis.call('SET', KEYS[2] .. ':fence:' .. text, ARGV[4], 'EX', ARGV[6]) end
-- After a restore the index may hold later versions than the catalogue knows of; their numbers are never given out again.
local floor = redis.call('GET', 'rag:version_floor') or '0'
if tonumber(redis.call('HGET', KEYS[2], 'last') or '0') < tonumber(floor) then redis.call('HSET', KEYS[2], 'last', floor) end
local version = redis.call('HINCRBY', KEYS[2], 'last', 1)
redis.call('HSET', KEYS[2], 'open:' .. version, text)
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1] .. '/' .. version)
return {'', version, text}
"""
)

# KEYS: ..., index. ARGV: ..., version, accepted_us, fence, collection that is written to. Returns a refusal, or ''.
CHECK = (
    _RULES
    + """
if not is_open(ARGV[3]) then return 'VERSION_SUPERSEDED' end
if is_switched(KEYS[6], ARGV[6]) then return 'INDEX_SWITCHED' end
return refusal(tonumber(ARGV[4]), tonumber(ARGV[5])) or ''
"""
)

# KEYS: ..., documents, commits, changes of the tenant, changes of all, index, barrier, stored. ARGV: ..., version, accepted_us, fence,
# id, collection that was written to, then the fields of the document in pairs. Returns a refusal, 'WAIT', or the live document.
COMMIT = (
    _RULES
    + """
local version, accepted = tonumber(ARGV[3]), tonumber(ARGV[4])
local live = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if live == version then return redis.call('HGETALL', KEYS[1]) end -- the answer of the first try was lost
if redis.call('EXISTS', KEYS[11]) == 1 then return 'WAIT' end
local refused = refusal(accepted, tonumber(ARGV[5]))
if not refused and (not is_open(ARGV[3]) or live_us() == accepted and version < live) then
  refused = 'VERSION_SUPERSEDED'
end
if not refused and version < live then refused = 'VERSION_OUTRUN' end
if not refused and is_switched(KEYS[10], ARGV[7]) then refused = 'INDEX_SWITCHED' end
if refused then
  give_up(ARGV[3])
  return refused
end
local created, size = unpack(redis.call('HMGET', KEYS[1], 'created_ms', 'size_bytes'))
if size then count_stored(KEYS[12], redis.call('ZSCORE', KEYS[6], ARGV[6]), -1, size) end
redis.call('ZREM', KEYS[3], ARGV[1] .. '/' .. ARGV[3])
redis.call('HDEL', KEYS[2], 'open:' .. ARGV[3])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'version', ARGV[3], 'accepted_us', ARGV[4], 'created_ms', created or ARGV[2], 'updated_ms', ARGV[2],
  unpack(ARGV, 8))
local place = redis.call('INCR', KEYS[7])
redis.call('ZADD', KEYS[6], place, ARGV[6])
count_stored(KEYS[12], place, 1, redis.call('HGET', KEYS[1], 'size_bytes'))
redis.call('INCR', KEYS[8])
redis.call('INCR', KEYS[9])
if version > 1 then
  redis.call('ZADD', KEYS[4], ARGV[2], ARGV[1] .. '/1-' .. string.format('%d', version - 1))
end
return redis.call('HGETALL', KEYS[1])
"""
)

# ARGV: ..., version. A version that was given up is erased once more: its writer may have written until now.
ABANDON = (
    _RULES
    + """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[3] then give_up(ARGV[3]) end
"""
)

# ARGV: ..., accepted_us, how long it is remembered. Returns the live version that the work made, or 0.
REVOKE = (
    _RULES
    + """
if redis.call('HGET', KEYS[1], 'accepted_us') == ARGV[3] then return redis.call('HGET', KEYS[1], 'version') end
redis.call('SET', KEYS[2] .. ':revoked:' .. ARGV[3], '1', 'EX', ARGV[4])
for version, accepted in pairs(open_versions()) do
  if accepted == ARGV[3] then give_up(version) end
end
return '0'
"""
)

# KEYS: ..., documents, changes of the tenant, changes of all, barrier, stored. ARGV: ..., id, how long a deletion of an unknown
# document is remembered, how long its erasure is left to the caller in microseconds. Returns the version that was live or 0, deleted_us, and from when on a worker does the rest,
# 0 when a worker is on it already; or 'WAIT'.
DELETE = (
    _RULES
    + """
if redis.call('EXISTS', KEYS[9]) == 1 then return 'WAIT' end
local live, last = redis.call('HGET', KEYS[1], 'version'), redis.call('HGET', KEYS[2], 'last')
local pending = redis.call('ZSCORE', KEYS[5], ARGV[1])
local now = math.max(now_us(), live_us(), deleted_us())
local text = string.format('%d', now)
if last then
  redis.call('HSET', KEYS[2], 'deleted_through', last, 'deleted_us', text)
  for version in pairs(open_versions()) do give_up(version) end
else
  redis.call('SET', KEYS[2] .. ':deleted', text, 'EX', ARGV[4])
end
local due = '0'
if live then
  count_stored(KEYS[10], redis.call('ZSCORE', KEYS[6], ARGV[3]), -1, redis.call('HGET', KEYS[1], 'size_bytes') or 0)
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[6], ARGV[3])
  redis.call('INCR', KEYS[7])
  redis.call('INCR', KEYS[8])
  redis.call('ZADD', KEYS[4], ARGV[2], ARGV[1] .. '/1-' .. last)
  redis.call('ZADD', KEYS[5], text, ARGV[1])
elseif not pending then
  due = string.format('%d', now + ARGV[5])
  redis.call('ZADD', KEYS[5], due, ARGV[1])
end
return {live or '0', text, due}
"""
)

# KEYS: a sorted set. ARGV: member, score. Removes the member unless it was added again since.
FORGET = """
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '-1') ~= tonumber(ARGV[2]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
"""

# Versions whose writer is given up become erasures; a commit that comes later finds them gone and is refused.
# KEYS: open versions, erasures. ARGV: given up until, now, how many at most.
GIVE_UP = """
for _, open in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  local tenant, document, version = string.match(open, '^([^/]+)/([^/]+)/([^/]+)$')
  redis.call('ZREM', KEYS[1], open)
  redis.call('HDEL', 'rag:' .. tenant .. ':versions:' .. document, 'open:' .. version)
  redis.call('ZADD', KEYS[2], ARGV[2], open .. '-' .. version)
end
"""

# KEYS: document, documents, commits, stored. ARGV: id. Return 1 when the listing had to be changed. What is stored is counted anew when
# a document is gone that nobody deleted: its size is not known any more.
UNLIST = """
if redis.call('EXISTS', KEYS[1]) == 1 or redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('DEL', KEYS[4])
return 1
"""
ENLIST = """
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
redis.call('DEL', KEYS[4])
return redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[1])
"""

# KEYS: documents, stored, a document's without its id. ARGV: how many documents to count at most, for how many seconds the count is
# trusted. Counts on where the last call stopped, in the order of commits; commits and deletions keep count of what is behind that
# place. Returns documents and bytes, or nothing when there is more to count.
STORED = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0} end
local through = redis.call('HGET', KEYS[2], 'through') or '0'
if through ~= 'all' then
  local page = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. through, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[1])
  local documents, bytes = 0, 0
  for at = 1, #page, 2 do
    local size = redis.call('HGET', KEYS[3] .. page[at], 'size_bytes')
    if size then documents, bytes = documents + 1, bytes + size end
  end
  redis.call('HINCRBY', KEYS[2], 'documents', documents)
  redis.call('HINCRBY', KEYS[2], 'bytes', bytes)
  local is_all = #page < 2 * ARGV[1]
  redis.call('HSET', KEYS[2], 'through', is_all and 'all' or page[#page])
  redis.call('EXPIRE', KEYS[2], ARGV[2])
  if not is_all then return {} end
end
local documents, bytes = unpack(redis.call('HMGET', KEYS[2], 'documents', 'bytes'))
return {tonumber(documents), tonumber(bytes)}
"""
