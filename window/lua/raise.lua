-- A time that only gives way to a later one: what a hanging Redis was sent long ago it may do behind what it was sent now.
-- KEYS: where it is. ARGV: the time, unix ms; how long it is kept, ms; 0: for good. Returns what was there.
local was = redis.pcall('GET', KEYS[1])
if type(was) == 'table' then was = false end -- it is something else
if not was or (tonumber(was) or 0) < tonumber(ARGV[1]) then
  if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
end
return was
