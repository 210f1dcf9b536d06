-- Reads the leases of a partition, and joins, renews or leaves one: one exchange of lease.go. KEYS:
-- the members; the caller's lease; the leases of other members. ARGV: the action; the time to live,
-- ms; for renew and leave the run id and the lease that must be found; the new lease; the new
-- entry; then the ids of the leases' gateways, "-" before those to remove. Returns the run id of
-- this process of Redis, whether it wrote, whether the memory policy drops keys, the members as
-- they were and the leases as they are.
local action, ttl, run, value, new, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local info = redis.pcall('INFO', 'server')
local self = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or '-'
local members, done, evicts = redis.call('HGETALL', KEYS[1]), 0, 0
if action == 'join' then
  local mine = redis.call('HGET', KEYS[1], ARGV[7])
  if not mine or string.sub(mine, -5) == ' left' then redis.call('HSET', KEYS[1], ARGV[7], self .. ' ' .. entry) end
  redis.call('SET', KEYS[2], new .. ' ' .. self, 'PX', ttl)
  done = 1
elseif value ~= '' and action ~= 'read' and action ~= 'watch' and self == run and redis.call('GET', KEYS[2]) == value then
  redis.call('HSET', KEYS[1], ARGV[7], self .. ' ' .. entry)
  if action == 'renew' then redis.call('SET', KEYS[2], new .. ' ' .. self, 'PX', ttl) else redis.call('DEL', KEYS[2]) end
  done = 1
end
local leases = {}
for i = 2, #KEYS do
  leases[i - 1] = redis.call('GET', KEYS[i])
  local id = ARGV[i + 5]
  if done == 1 and string.sub(id, 1, 1) == '-' and not leases[i - 1] then redis.call('HDEL', KEYS[1], string.sub(id, 2)) end
end
if action ~= 'read' then
  info = redis.pcall('INFO', 'memory')
  local policy = type(info) == 'string' and string.match(info, 'maxmemory_policy:(%w+)')
  if policy and policy ~= 'noeviction' then evicts = 1 end
end
return {self, done, evicts, members, leases}
