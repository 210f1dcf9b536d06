-- Takes events of the log over for one webhook. KEYS: its state; what is due. ARGV: the position
-- that it must have; the one that it gets; now, unix ms; the TTL of both in ms; then a member for
-- each event. Returns 1, or 0 if another gateway moved it.
if (redis.call('HGET', KEYS[1], 'position') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'position', ARGV[2])
for i = 5, #ARGV do
  redis.call('ZADD', KEYS[2], 'NX', ARGV[3], ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
