-- A gateway's word to the others. KEYS: the gateways. ARGV: its id; 1 if it holds nothing back; Redis's time of its last look,
-- unix ms, and how long ago that may be, ms; then the ids of gateways to forget.
-- Returns the whole hash, and Redis's time behind it; 0: the user may not ask for it.
--
-- What is late is not counted: it was sent before a network or Redis hung, and may not be true any longer.
local time, now = redis.pcall('TIME'), 0
if not time.err then now = time[1] * 1000 + math.floor(time[2] / 1000) end
if ARGV[2] == '0' then
  redis.call('HSETNX', KEYS[1], ARGV[1], 0)
elseif now - tonumber(ARGV[3]) <= tonumber(ARGV[4]) then
  redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
end
for i = 5, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], 3600000)
local all = redis.call('HGETALL', KEYS[1])
all[#all + 1] = string.format('%.0f', now)
return all
