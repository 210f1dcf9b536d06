-- WeCom says that the replies are used up. KEYS: the window. ARGV: the last it is about, the stamp
-- of the reply, replies.
if last ~= tonumber(ARGV[1]) then return 0 end
fill(count(sent, from), math.max(tonumber(ARGV[2]), from), tonumber(ARGV[3]))
return 1
