-- Raises a time, and never lowers it: a hanging Redis may run an older write after a newer one.
-- KEYS: the key of the time. ARGV: the time, unix ms; the time to live, ms, 0 = no expiry. Returns
-- the previous value.
local was = redis.pcall('GET', KEYS[1])
if type(was) == 'table' then was = false end -- not a string
if not was or (tonumber(was) or 0) < tonumber(ARGV[1]) then
  if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
end
return was
