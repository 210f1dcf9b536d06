-- Reserves one reply in each of several windows. KEYS: the windows. ARGV: now, length, allowed
-- replies, a deadline for each window unless all are the same, and the latest of them for
-- deadline_guard.lua. Returns state, last, stamp and left for each. A key that holds no window has
-- the state -2, one whose deadline has passed -3, and they do not affect the others. This is by far
-- the most frequent script, so it creates no closures, and it does not parse a list of replies that
-- all count, have 13 digits and are older than this one. A stamp is at most 2 s after clock, which
-- deadline_guard.lua has read: the stamps of a gateway whose clock is ahead would count against
-- later messages.
local now, length, replies = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local instant, digits = now, ARGV[1]
if clock and now > clock + 2000 then -- maxStampAhead in window.go
  instant = clock + 2000
  digits = string.format('%.0f', instant)
end
local out, each = {}, clock and #ARGV > 4
for i = 1, #KEYS do
  local h = redis.pcall('HMGET', KEYS[i], 'last', 'sent', 'shut')
  local state, last, stamp, left = -1, 0, 0, 0
  if each and clock > tonumber(ARGV[3 + i]) then
    state = -3
  elseif h.err or h[1] and not tonumber(h[1]) then
    state = -2
  elseif h[1] then
    last = tonumber(h[1])
    if now - last >= length then
      state = 0
    elseif h[3] and (tonumber(h[3]) or 0) >= last then
      state = 1
    else
      local from, at, text, sent, n = last - last % 1000 + 1000, instant, digits, h[2], 0
      if at < from then at, text = from, string.format('%.0f', from) end
      if not sent then
        sent = text
      elseif #sent % 14 == 13 and (tonumber(string.sub(sent, 1, 13)) or 0) >= from and (tonumber(string.sub(sent, -13)) or at) < at then
        n = (#sent + 1) / 14
        sent = sent .. ',' .. text
      else
        local kept, taken = {}, {}
        for t in string.gmatch(sent, '%d+') do
          if tonumber(t) >= from then n = n + 1; kept[n] = t; taken[t] = true end
        end
        while taken[text] do at = at + 1; text = string.format('%.0f', at) end
        kept[n + 1] = text
        table.sort(kept)
        sent = table.concat(kept, ',')
      end
      if n >= replies then
        state = 2
      else
        redis.call('HSET', KEYS[i], 'sent', sent)
        state, stamp, left = 3, at, replies - n - 1
      end
    end
  end
  local o = 4 * i
  out[o - 3], out[o - 2], out[o - 1], out[o] = state, last, stamp, left
end
return out
