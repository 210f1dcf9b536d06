-- Marks all replies of a window as used, since WeCom refused one with 95001. KEYS: the window.
-- ARGV: the last message that the reply answered, unix ms; the stamp of the reply; the allowed
-- replies.
if last ~= tonumber(ARGV[1]) then return 0 end
fill(count(sent, from), math.max(tonumber(ARGV[2]), from), tonumber(ARGV[3]))
return 1
