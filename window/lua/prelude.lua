-- Prelude of most scripts: reads the window at KEYS[1] into last, sent and shut. from is the
-- instant from which replies count against the last message. A key that holds no window ends the
-- script.
local function count(sent, from)
  local kept, n = {}, 0
  for t in string.gmatch(sent or '', '%d+') do
    if tonumber(t) >= from then n = n + 1; kept[n] = t end
  end
  return kept, n
end
local function has(kept, stamp)
  for _, t in ipairs(kept) do if t == stamp then return true end end
  return false
end
local function write(kept)
  if #kept == 0 then redis.call('HDEL', KEYS[1], 'sent') return end
  table.sort(kept)
  redis.call('HSET', KEYS[1], 'sent', table.concat(kept, ','))
end
local function text(n) return string.format('%.0f', n) end
local function fill(kept, stamp, replies)
  local n = 0
  for _, t in ipairs(kept) do if tonumber(t) >= stamp then n = n + 1 end end
  while n < replies do
    while has(kept, text(stamp)) do stamp = stamp + 1 end
    n = n + 1
    kept[#kept + 1] = text(stamp)
  end
  write(kept)
end
local h = redis.pcall('HMGET', KEYS[1], 'last', 'sent', 'shut')
if h.err then
  if string.find(h.err, 'WRONGTYPE', 1, true) then return 0 end
  return h
end
local last, sent, shut = tonumber(h[1] or nil), h[2] or '', tonumber(h[3] or nil)
local from = last and (last - last % 1000 + 1000)
