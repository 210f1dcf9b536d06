-- Applies a delivery failure that WeCom reports later. KEYS: the window. ARGV: the newest message
-- that the reply may have answered, unix ms; the allowed replies, all of which count as used, or 0
-- to shut the window instead.
if not last or last > tonumber(ARGV[1]) then return 0 end
local replies = tonumber(ARGV[2])
if replies == 0 then
  if shut and shut >= last then return 0 end
  redis.call('HSET', KEYS[1], 'shut', text(last))
  return 1
end
fill(count(sent, from), from, replies)
return 1
