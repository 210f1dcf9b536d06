-- Deadline guard, prepended to scripts with side effects. It aborts if the caller's deadline has
-- passed: the caller has timed out and will not send the reply. Last of ARGV: the deadline, unix ms
-- by Redis's own clock; 0 = none. Sets clock to that clock, unix ms; nil if there is no deadline or
-- TIME is not allowed.
local clock
if ARGV[#ARGV] ~= '0' then
  local time = redis.pcall('TIME')
  if not time.err then
    clock = time[1] * 1000 + math.floor(time[2] / 1000)
    if clock > tonumber(ARGV[#ARGV]) then
      return redis.error_reply('LATE the deadline has passed, so nothing was done')
    end
  end
end
