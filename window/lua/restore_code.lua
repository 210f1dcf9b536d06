-- Makes a used code fresh again, since its message was certainly not sent. KEYS: the code.
local v = redis.call('GET', KEYS[1])
if v and string.sub(v, -5) == ':used' then redis.call('SET', KEYS[1], string.sub(v, 1, -6), 'KEEPTTL') end
return 1
