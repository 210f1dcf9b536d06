-- Records replies to a customer, and those that were taken back. It never creates a window and
-- never moves its end. KEYS: the window. ARGV: each a letter (b: a bot's, s: a servicer's, t: taken
-- back), the time in 13 digits, unix ms, and the hash of the message's id, or nothing. The newest
-- three of each kind are kept, so the order of calls does not matter; "+" says that there were
-- more. Returns last, and 1 if the chat waits for an answer, else 2; zeros if there is no window.
local h = redis.pcall('HMGET', KEYS[1], 'last', 'answered', 'served', 'answers', 'services', 'undone')
if h.err then
  if string.find(h.err, 'WRONGTYPE', 1, true) then return {0, 0} end
  return h
end
local last = tonumber(h[1] or nil)
if not last then return {0, 0} end
local function text(n) return string.format('%013.0f', n) end
local function read(list, plain)
  local all = {}
  if not list then
    if plain then all[1] = text(tonumber(plain) or 0) end
    return all, ''
  end
  for entry in string.gmatch(list, '[%w_-]+') do all[#all + 1] = entry end
  return all, string.sub(list, -1) == '+' and '+' or ''
end
local answers, moreAnswers = read(h[4], h[2])
local services, moreServices = read(h[5], h[3])
local undone = read(h[6] or '')
for _, arg in ipairs(ARGV) do
  local kind = string.sub(arg, 1, 1)
  local list = kind == 'b' and answers or kind == 's' and services or undone
  list[#list + 1] = string.sub(arg, 2)
end
local function newest(list, more)
  table.sort(list, function(a, b) return a > b end)
  local kept = {}
  for i, entry in ipairs(list) do
    if entry ~= list[i - 1] then kept[#kept + 1] = entry end
  end
  if #kept > 3 then more = '+' end
  return {kept[1], kept[2], kept[3]}, more
end
answers, moreAnswers = newest(answers, moreAnswers)
services, moreServices = newest(services, moreServices)
undone = newest(undone, '')
local gone = {}
for _, entry in ipairs(undone) do gone[string.sub(entry, 14)] = true end
local function put(field, value, was)
  if value == (was or '') then return end
  if value == '' then redis.call('HDEL', KEYS[1], field) else redis.call('HSET', KEYS[1], field, value) end
end
local function put_list(field, list, more, was)
  if #list > 0 then put(field, table.concat(list, ',') .. more, was) end
end
local function settle(field, list, more, was)
  local at
  for _, entry in ipairs(list) do
    if #entry == 13 or not gone[string.sub(entry, 14)] then at = entry break end
  end
  if not at and more == '+' then at = list[3] end -- those before it are not known to be taken back
  local value = at and string.format('%.0f', tonumber(string.sub(at, 1, 13))) or ''
  put(field, value, was)
  return tonumber(value) or 0
end
local newestReply = math.max(settle('answered', answers, moreAnswers, h[2]), settle('served', services, moreServices, h[3]))
put_list('answers', answers, moreAnswers, h[4])
put_list('services', services, moreServices, h[5])
put_list('undone', undone, '', h[6])
if newestReply >= last - last % 1000 then return {last, 2} end
return {last, 1}
