-- Marks a one-time code as used. KEYS: the code. ARGV: "CORP:", with which its record must begin;
-- the deadline for deadline_guard.lua. Returns the state (0 unknown or of another corp, 1 used
-- before, 2 fresh until now) and the record.
local v = redis.call('GET', KEYS[1])
if not v then return {0, ''} end
if string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then return {0, (string.gsub(v, ':used$', ''))} end
if string.sub(v, -5) == ':used' then return {1, string.sub(v, 1, -6)} end
redis.call('SET', KEYS[1], v .. ':used', 'KEEPTTL')
return {2, v}
