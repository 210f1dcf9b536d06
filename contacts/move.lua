-- Stores what is remembered of one person, and moves the estimate. KEYS: the count; the moves
-- since. ARGV: as_of of the count; the person; the state before and after, '' for none; the
-- difference for the estimate; the move's time, unix ms; the TTL in s. Returns 0 if count or
-- person changed meanwhile, and nothing was stored.
if redis.call('HGET', KEYS[1], 'as_of') ~= ARGV[1] then return 0 end
if (redis.call('HGET', KEYS[2], ARGV[2]) or '') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[7])
redis.call('HINCRBY', KEYS[1], 'moved', ARGV[5])
local at = redis.call('HGET', KEYS[1], 'moved_at')
if not at or tonumber(at) < tonumber(ARGV[6]) then redis.call('HSET', KEYS[1], 'moved_at', ARGV[6]) end
return 1
