-- Deadline guard, prepended to scripts with side effects. It aborts if the caller's deadline has
-- passed: the caller has timed out and will not send the reply. Last of ARGV: the deadline, unix ms
-- by Redis's own clock; 0 = none.
if ARGV[#ARGV] ~= '0' then
  local time = redis.pcall('TIME')
  if not time.err and time[1] * 1000 + time[2] / 1000 > tonumber(ARGV[#ARGV]) then
    return redis.error_reply('LATE the deadline has passed, so nothing was done')
  end
end
