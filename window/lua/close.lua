-- Shuts a window until a later message arrives. KEYS: the window. ARGV: the last message that
-- WeCom's answer is about, unix ms. Returns 1 if it changed something.
if not last or (shut and shut >= tonumber(ARGV[1])) then return 0 end
redis.call('HSET', KEYS[1], 'shut', ARGV[1])
return 1
