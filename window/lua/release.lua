-- Takes a reply back that WeCom certainly did not accept. KEYS: the window. ARGV: the reply's
-- stamp.
if not last then return 0 end
local kept, out = count(sent, 0), {}
for _, t in ipairs(kept) do if t ~= ARGV[1] then out[#out + 1] = t end end
write(out)
return 1
