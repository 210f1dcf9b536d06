-- Claims a token or channel for a corp, unless another corp owns it. A value that is not a corp id
-- (empty, or not a string) is replaced. KEYS: the token or channel. ARGV: corp, TTL in ms. Returns
-- the owner.
local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'string' and owner ~= '' and owner ~= ARGV[1] then return owner end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
