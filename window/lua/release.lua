-- A reply was certainly not taken. KEYS: the window. ARGV: its stamp.
if not last then return 0 end
local kept, out = count(sent, 0), {}
for _, t in ipairs(kept) do if t ~= ARGV[1] then out[#out + 1] = t end end
write(out)
return 1
