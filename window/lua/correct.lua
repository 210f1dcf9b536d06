-- WeCom says later what a reply met. KEYS: the window. ARGV: the latest last that it is about,
-- replies; 0: shut instead.
if not last or last > tonumber(ARGV[1]) then return 0 end
local replies = tonumber(ARGV[2])
if replies == 0 then
  if shut and shut >= last then return 0 end
  redis.call('HSET', KEYS[1], 'shut', text(last))
  return 1
end
fill(count(sent, from), from, replies)
return 1
