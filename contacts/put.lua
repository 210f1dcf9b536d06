-- Stores an exact count, unless a newer one is stored. KEYS: the count; the moves since; the
-- history. ARGV: as_of, unix ms; total; customers; source; the day of as_of; the oldest day to
-- keep; the TTL in s. Returns 1 if it was stored.
local stored = redis.call('HGET', KEYS[1], 'as_of')
if stored and tonumber(stored) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'as_of', ARGV[1], 'total', ARGV[2], 'customers', ARGV[3], 'source', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[7])
if redis.call('HEXISTS', KEYS[3], ARGV[5]) == 0 then
  for _, day in ipairs(redis.call('HKEYS', KEYS[3])) do
    if day < ARGV[6] then redis.call('HDEL', KEYS[3], day) end
  end
end
redis.call('HSET', KEYS[3], ARGV[5], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[7])
return 1
