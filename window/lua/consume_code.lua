-- A message is to go out with a one-time code. KEYS: the code. ARGV: what a record of its corp
-- begins with, and what deadline_guard.lua asks for. Returns the code's state and record; the state of
-- another corp's code is 0.
local v = redis.call('GET', KEYS[1])
if not v then return {0, ''} end
if string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then return {0, (string.gsub(v, ':used$', ''))} end
if string.sub(v, -5) == ':used' then return {1, string.sub(v, 1, -6)} end
redis.call('SET', KEYS[1], v .. ':used', 'KEEPTTL')
return {2, v}
