-- What begins a script that must not be done late: a hanging Redis gets to it when nobody waits for
-- it any longer, and what it would count was not sent. The last of ARGV: until when somebody waits,
-- unix ms by Redis's own clock; 0: that is not known.
if ARGV[#ARGV] ~= '0' then
  local time = redis.pcall('TIME')
  if not time.err and time[1] * 1000 + time[2] / 1000 > tonumber(ARGV[#ARGV]) then
    return redis.error_reply('LATE nobody waits for it any longer, and nothing was done')
  end
end
