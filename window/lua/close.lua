-- The window is shut until a later message. KEYS: the window. ARGV: the last it is about.
if not last or (shut and shut >= tonumber(ARGV[1])) then return 0 end
redis.call('HSET', KEYS[1], 'shut', ARGV[1])
return 1
