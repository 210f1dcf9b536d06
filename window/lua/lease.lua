-- A gateway's word to the others, behind deadline_guard.lua. KEYS: the gateways. ARGV: its id; 1 if it
-- holds nothing back; the ids of gateways to forget; until when the word is true by Redis's own
-- clock. Returns the whole hash.
if ARGV[2] == '0' then
  redis.call('HSETNX', KEYS[1], ARGV[1], 0)
else
  redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
end
for i = 3, #ARGV - 1 do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], 3600000)
return redis.call('HGETALL', KEYS[1])
