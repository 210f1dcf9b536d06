-- A token, or a channel, becomes known as a corp's, unless another corp has it. KEYS: it. ARGV: the
-- corp; for how long, ms. Returns the corp that has it then. A key that holds no corp gives way.
local has = redis.pcall('GET', KEYS[1])
if type(has) == 'string' and has ~= '' and has ~= ARGV[1] then return has end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
