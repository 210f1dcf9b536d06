-- Renews a gateway's lease. deadline_guard.lua comes before it. KEYS: the hash of gateways. ARGV:
-- the gateway's id; 1 if its journal is empty, else 0; the ids of expired gateways to remove; the
-- deadline. Returns the whole hash.
if ARGV[2] == '0' then
  redis.call('HSETNX', KEYS[1], ARGV[1], 0)
else
  redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
end
for i = 3, #ARGV - 1 do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], 3600000)
return redis.call('HGETALL', KEYS[1])
