-- Records a customer's message. KEYS: the window. ARGV: the message's time; the time when the
-- window closes; both unix ms. A key that holds no window is replaced. Returns 0 if nothing
-- changed, 1 if the customer waits for an answer now, 2 if a reply after the message is on record
-- already. The script is frequent, like reserve.lua, so it creates no closures.
local at = tonumber(ARGV[1])
local h = redis.pcall('HMGET', KEYS[1], 'last', 'sent', 'answered', 'served')
if h.err then
  if not string.find(h.err, 'WRONGTYPE', 1, true) then return h end
  redis.call('DEL', KEYS[1])
  h = {}
end
local last = tonumber(h[1] or nil)
if last and last >= at then return 0 end
redis.call('HSET', KEYS[1], 'last', ARGV[1])
if h[2] then
  local kept, n, from = {}, 0, at - at % 1000 + 1000
  for t in string.gmatch(h[2], '%d+') do
    if tonumber(t) >= from then n = n + 1; kept[n] = t end
  end
  if n == 0 then redis.call('HDEL', KEYS[1], 'sent') else redis.call('HSET', KEYS[1], 'sent', table.concat(kept, ',')) end
end
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
if math.max(tonumber(h[3] or nil) or 0, tonumber(h[4] or nil) or 0) >= at - at % 1000 then return 2 end
return 1
