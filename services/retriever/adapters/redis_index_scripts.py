"""What a rebuild of the index does to Redis in one step, as Lua. The keys are explained in `redis_keys`."""

from __future__ import annotations

# KEYS: index. ARGV: the fields of the index in pairs. Returns those that count: the first ones ever recorded.
RECORD = """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return redis.call('HGETALL', KEYS[1])
"""

# KEYS: building, retired. ARGV: id, wish, collection to take back from the retired ones or ''. Returns 1 when it begins now.
BEGIN = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if ARGV[3] ~= '' and redis.call('HDEL', KEYS[2], ARGV[3]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'wish', ARGV[2])
return 1
"""

# KEYS: building, builder. ARGV: id, who builds, for how many ms, progress, trouble. Returns 1 when it is theirs to build.
CLAIM = """
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
local builder = redis.call('GET', KEYS[2])
if builder and builder ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'progress', ARGV[4], 'trouble', ARGV[5]) end
return 1
"""

# KEYS: building, builder, retired, outcome. ARGV: id, outcome, collection, the retired index. Returns 1 when it ended now.
END = """
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
redis.call('SET', KEYS[4], ARGV[2])
return 1
"""

# KEYS: building, builder, retired, outcome, index, changes of all, barrier. ARGV: id, who builds, changes, outcome, collection
# that was live, the same as a retired index, for how many ms writers wait on, then the fields of the new index in pairs.
# Returns '' or why not.
SWITCH = """
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then return 'GONE' end
if redis.call('HGET', KEYS[5], 'collection') ~= ARGV[5] then return 'GONE' end
if (redis.call('GET', KEYS[6]) or '0') ~= ARGV[3] then return 'CHANGED' end
redis.call('HSET', KEYS[3], ARGV[5], ARGV[6])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[5], KEYS[7])
redis.call('HSET', KEYS[5], unpack(ARGV, 8))
redis.call('SET', KEYS[4], ARGV[4])
if ARGV[7] ~= '0' then redis.call('SET', KEYS[7], '1', 'PX', ARGV[7]) end
return ''
"""

# KEYS: document. ARGV: version, collection, passages in it, then the collections that are recorded. Keeps the count for as long
# as the version is live; returns 0 when it is not.
COUNT = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
local known = {}
for at = 4, #ARGV do known['passages:' .. ARGV[at]] = true end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 9) == 'passages:' and not known[field] then redis.call('HDEL', KEYS[1], field) end
end
redis.call('HSET', KEYS[1], 'passages:' .. ARGV[2], ARGV[3])
return 1
"""
