-- Records replies to customers, and those that were taken back. It never creates a window and never
-- moves its end. KEYS: the windows. ARGV: for each of them, how many entries follow, and these: a
-- letter (b: a bot's, s: a servicer's, t: taken back), the time in 13 digits, unix ms, and the hash
-- of the message's id, or nothing. The newest three of each kind are kept, so the order of calls
-- does not matter; "+" says that there were more. Returns for each window last; 1 if the chat waits
-- for an answer, 2 if not, 3 if it did not before and its entries are new; and when the window was
-- shut. Zeros if there is no window.
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
local function newest(list, more)
  table.sort(list, function(a, b) return a > b end)
  local kept = {}
  for i, entry in ipairs(list) do
    if entry ~= list[i - 1] then kept[#kept + 1] = entry end
  end
  if #kept > 3 then more = '+' end
  return {kept[1], kept[2], kept[3]}, more
end

-- merge adds the entries ARGV[first] to ARGV[final] to the window at key, whose fields are h. It
-- returns the time of the newest reply that was not taken back, and whether anything changed.
local function merge(key, h, first, final)
  local answers, moreAnswers = read(h[4], h[2])
  local services, moreServices = read(h[5], h[3])
  local undone = read(h[6] or '')
  for i = first, final do
    local kind = string.sub(ARGV[i], 1, 1)
    local list = kind == 'b' and answers or kind == 's' and services or undone
    list[#list + 1] = string.sub(ARGV[i], 2)
  end
  answers, moreAnswers = newest(answers, moreAnswers)
  services, moreServices = newest(services, moreServices)
  undone = newest(undone, '')
  local gone, changed = {}, false
  for _, entry in ipairs(undone) do gone[string.sub(entry, 14)] = true end
  local function put(field, value, was)
    if value == (was or '') then return end
    changed = true
    if value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
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
  local at = math.max(settle('answered', answers, moreAnswers, h[2]), settle('served', services, moreServices, h[3]))
  put_list('answers', answers, moreAnswers, h[4])
  put_list('services', services, moreServices, h[5])
  put_list('undone', undone, '', h[6])
  return at, changed
end

-- prepend is merge for a bot's reply that is later than all others, when none was taken back. That
-- always changes something.
local function prepend(key, h, entry)
  local list, at = entry, string.format('%.0f', tonumber(string.sub(entry, 1, 13)))
  if h[4] then
    local second = string.find(h[4], ',', 1, true)
    local third = second and string.find(h[4], ',', second + 1, true)
    list = entry .. ',' .. (third and string.sub(h[4], 1, third - 1) .. '+' or h[4])
  end
  redis.call('HSET', key, 'answered', at, 'answers', list)
  return math.max(tonumber(at), tonumber(h[3] or nil) or 0)
end

local out, arg = {}, 1
for i, key in ipairs(KEYS) do
  local first, final = arg + 1, arg + tonumber(ARGV[arg])
  arg = final + 1
  local h = redis.pcall('HMGET', key, 'last', 'answered', 'served', 'answers', 'services', 'undone', 'shut')
  if h.err and not string.find(h.err, 'WRONGTYPE', 1, true) then return h end
  local last, state, shut = tonumber(h[1] or nil), 0, tonumber(h[7] or nil)
  if last then
    local before = math.max(tonumber(h[2] or nil) or 0, tonumber(h[3] or nil) or 0)
    local entry, changed, at = string.sub(ARGV[first], 2), true
    local latest = not h[6] and (h[4] and entry > h[4] or not h[4] and not h[2])
    if first == final and latest and string.sub(ARGV[first], 1, 1) == 'b' then
      at = prepend(key, h, entry)
    else
      at, changed = merge(key, h, first, final)
    end
    local from = last - last % 1000
    state = at < from and 1 or (before >= from and changed and 3 or 2)
  end
  out[3 * i - 2], out[3 * i - 1], out[3 * i] = last or 0, state, shut or 0
end
return out
