-- Appends events to the log, each only once. KEYS: the log; the ids seen; what is known. ARGV: the
-- most events to keep; the first position to keep; the oldest time of an id seen, unix ms; their
-- TTL in ms; the TTL of the log in ms; then for each event its id, type, corp and JSON, the field
-- of what is known, what that must be, and what it becomes, and the time of its id. Without an id
-- nothing is appended, without a field nothing is compared. Returns for each event 1 if it was
-- new, 0 if it is in the log, and -1 if something else is known.
local results = {}
for i = 6, #ARGV, 8 do
  local id, field, result = ARGV[i], ARGV[i + 4], 1
  if field ~= '' and (redis.call('HGET', KEYS[3], field) or '') ~= ARGV[i + 5] then
    result = -1
  else
    if field ~= '' then redis.call('HSET', KEYS[3], field, ARGV[i + 6]) end
    if id ~= '' then
      result = redis.call('ZADD', KEYS[2], 'NX', ARGV[i + 7], id)
      if result == 1 then
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'type', ARGV[i + 1], 'corp', ARGV[i + 2], 'event', ARGV[i + 3])
      end
    end
  end
  results[#results + 1] = result
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return results
