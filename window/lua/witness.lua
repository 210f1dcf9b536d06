-- A gateway leaves its word. KEYS: where. ARGV: the time, unix ms; how long it is kept, ms.
-- Returns the word that was there. A later one stays: what a hanging Redis was sent long ago it may do behind what it was sent now.
local word = redis.call('GET', KEYS[1])
if not word or (tonumber(word) or 0) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return word
