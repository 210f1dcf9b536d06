-- Takes replies back that reserve.lua counted although its answer was lost: nothing was sent with
-- them. KEYS: the window. ARGV: the instants that reserve.lua was given. A reply is found by its
-- instant, or by the first that was free after it.
if not last then return 0 end
local kept = count(sent, 0)
for _, arg in ipairs(ARGV) do
  local at = tonumber(arg)
  local found = at < last - 2000 -- a later message: the reply counts no longer (maxStampAhead in window.go)
  if at < from then at = from end
  for stamp = at, at + #ARGV - 1 do
    for i, t in ipairs(kept) do
      if not found and t == text(stamp) then table.remove(kept, i); found = true end
    end
  end
end
write(kept)
return 1
