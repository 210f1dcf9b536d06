-- Records replies to customers, and those that were taken back. It never creates a window and never
-- moves its end. KEYS: the windows, one perhaps more than once. ARGV: the time up to which messages
-- are too old for an open window, unix ms, then for each window its entries with blanks between
-- them: a letter (b: a bot's, s: a servicer's, t: taken back), the time in 13 digits, unix ms, and
-- the hash of the message's id, or nothing. The newest three of each kind are kept, so the order of
-- calls does not matter; "+" says that there were more. Returns a text with a letter for each
-- window, and then the last of each that is w or a: w if the chat waits for an answer, a if it does
-- not, k if it did not before and its entries are new, all in upper case if the window is open; and
-- "-" if there is none.
local byte, find, sub = string.byte, string.find, string.sub
local function text(n) return string.format('%013.0f', n) end
local function read(list, plain)
  local all = {}
  if not list then
    if plain then all[1] = text(tonumber(plain) or 0) end
    return all, ''
  end
  for entry in string.gmatch(list, '[%w_-]+') do all[#all + 1] = entry end
  return all, sub(list, -1) == '+' and '+' or ''
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

-- merge adds entries to the window at key, whose fields are h. It returns the time of the newest
-- reply that was not taken back, and whether anything changed.
local function merge(key, h, entries)
  local answers, moreAnswers = read(h[4], h[2])
  local services, moreServices = read(h[5], h[3])
  local undone = read(h[6] or '')
  for kind, entry in string.gmatch(entries, '(%a)([%w_-]+)') do
    local list = kind == 'b' and answers or kind == 's' and services or undone
    list[#list + 1] = entry
  end
  answers, moreAnswers = newest(answers, moreAnswers)
  services, moreServices = newest(services, moreServices)
  undone = newest(undone, '')
  local gone, changed = {}, false
  for _, entry in ipairs(undone) do gone[sub(entry, 14)] = true end
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
      if #entry == 13 or not gone[sub(entry, 14)] then at = entry break end
    end
    if not at and more == '+' then at = list[3] end -- those before it are not known to be taken back
    local value = at and string.format('%.0f', tonumber(sub(at, 1, 13))) or ''
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
local function prepend(key, answers, entry)
  local list, at = entry, sub(entry, 1, 13)
  if answers then
    local second = find(answers, ',', 1, true)
    local third = second and find(answers, ',', second + 1, true)
    list = entry .. ',' .. (third and sub(answers, 1, third - 1) .. '+' or answers)
  end
  redis.call('HSET', key, 'answered', at, 'answers', list)
  return tonumber(at)
end

local oldest, open, states, out = tonumber(ARGV[1]), {w = 'W', a = 'A', k = 'K'}, {}, {''}
for i, key in ipairs(KEYS) do
  local entries = ARGV[i + 1]
  local h = redis.pcall('HMGET', key, 'last', 'answered', 'served', 'answers', 'services', 'undone', 'shut')
  if h.err and not find(h.err, 'WRONGTYPE', 1, true) then return h end
  local last, state = tonumber(h[1] or nil), '-'
  if last then
    local answered, served = tonumber(h[2] or nil) or 0, tonumber(h[3] or nil) or 0
    local at, changed, answers = nil, true, h[4]
    local single = byte(entries) == 98 and #entries <= 20 -- b
    local entry = single and sub(entries, 2)
    if single and not h[6] and (answers and entry > answers or not answers and answered == 0) then
      at = math.max(prepend(key, answers, entry), served)
    else
      at, changed = merge(key, h, entries)
    end
    local from = last - last % 1000
    state = at < from and 'w' or changed and (answered >= from or served >= from) and 'k' or 'a'
    if state ~= 'k' then out[#out + 1] = last end
    if last > oldest and (tonumber(h[7] or nil) or 0) < last then state = open[state] end
  end
  states[i] = state
end
out[1] = table.concat(states)
return out
