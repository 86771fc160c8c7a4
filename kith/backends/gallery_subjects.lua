--[[ Subjects: their records, and their names as workers load them. ]]

local NAMES_AT_ONCE = 1024

-- Parts of a record that may be empty.
local PARTS = {'metadata', 'templates', 'changes'}

-- For strings, in JSON that is put together by hand.
local quoted = cjson.encode

-- Numbers of this run as text: each is written in several places, and Lua takes longer for it than for most commands.
local as_text = {}

local function digits(number)
  local known = as_text[number]
  if not known then
    known = tostring(number)
    as_text[number] = known
  end
  return known
end

local function quoted_list(strings)
  local parts = {}
  for position, each in ipairs(strings) do
    parts[position] = quoted(each)
  end
  return '[' .. table.concat(parts, ',') .. ']'
end

local function number_list(numbers)
  local parts = {}
  for position, each in ipairs(numbers) do
    parts[position] = digits(each)
  end
  return '[' .. table.concat(parts, ',') .. ']'
end

-- A subject's record, whole; in Redis it stands without what is empty, which is most of it for most subjects.
local function whole(text)
  local record = cjson.decode(text)
  for _, part in ipairs(PARTS) do
    record[part] = record[part] or {}
  end
  record.external_id = record.external_id or ''
  return record
end

-- The number of the subject that is called so, or nil.
local function number_of(name)
  return tonumber(redis.call('HGET', g .. ':names', name))
end

local function subject(n)
  local text = redis.call('HGET', g .. ':subjects', n)
  return text and whole(text)
end

-- Written piece by piece: a copy without what is empty costs more than all the rest.
local function packed(record)
  local text = '{"id":' .. quoted(record.id) .. ',"name":' .. quoted(record.name) .. ',"created_ms":' ..
    digits(record.created_ms)
  if record.external_id ~= '' then
    text = text .. ',"external_id":' .. quoted(record.external_id)
  end
  if record.described then
    text = text .. ',"described":' .. digits(record.described)
  end
  if next(record.metadata) ~= nil then
    text = text .. ',"metadata":' .. cjson.encode(record.metadata)
  end
  return text .. (record.templates[1] and ',"templates":' .. quoted_list(record.templates) or '') ..
    (record.changes[1] and ',"changes":' .. number_list(record.changes) or '') .. '}'
end

local function untrimmed(changes, trimmed)
  local still = {}
  for _, each in ipairs(changes) do
    if math.abs(each) > trimmed then
      table.insert(still, each)
    end
  end
  return still
end

-- Stores subjects, by number. Changes cut off the log have no payload left to erase, so nobody need remember them.
local function keep_all(records, trimmed)
  local fields = {}
  for n, record in pairs(records) do
    local still = record.changes
    for _, each in ipairs(record.changes) do
      if each <= trimmed and -each <= trimmed then
        still = untrimmed(record.changes, trimmed)
        break
      end
    end
    record.changes = still
    fields[#fields + 1], fields[#fields + 2] = n, packed(record)
  end
  redis.call('HSET', g .. ':subjects', unpack(fields))
end

-- sequence: of the change that is being made, where it tells of the subject.
local function keep(n, record, sequence)
  table.insert(record.changes, sequence)
  keep_all({[n] = record}, tonumber(redis.call('HGET', g .. ':meta', 'trimmed')))
end

local function names_key(n)
  return g .. ':n:' .. math.floor(n / NAMES_AT_ONCE)
end

-- Lists subjects with consecutive numbers from `first` on.
local function list_names(first, records)
  local lines = {}
  for position, record in ipairs(records) do
    local n = first + position - 1
    lines[#lines + 1] = '[' .. digits(n) .. ',' .. quoted(record.id) .. ',' .. quoted(record.name) .. ']\n'
    if n % NAMES_AT_ONCE == NAMES_AT_ONCE - 1 then
      -- SET allocates exactly; APPEND leaves room to grow, which a full chunk will not need.
      redis.call('SET', names_key(n), (redis.call('GET', names_key(n)) or '') .. table.concat(lines))
      lines = {}
    elseif position == #records then
      redis.call('APPEND', names_key(n), table.concat(lines))
    end
  end
end

local function unlist_name(n)
  local start, lines = '[' .. n .. ',', {}
  for line in string.gmatch(redis.call('GET', names_key(n)), '[^\n]+') do
    if string.sub(line, 1, #start) ~= start then
      table.insert(lines, line .. '\n')
    end
  end
  redis.call('SET', names_key(n), table.concat(lines))
end

local function new_subject(id, name, created_ms, external_id, metadata)
  return {id = id, name = name, created_ms = created_ms, external_id = external_id or '', metadata = metadata or {},
    templates = {}, changes = {}}
end

-- Adds subjects; the number of the first, from which on they are numbered.
local function add_subjects(records)
  local first = redis.call('HINCRBY', g .. ':meta', 'next_subject', #records) - #records + 1
  local names, external = {}, {}
  for position, record in ipairs(records) do
    names[#names + 1], names[#names + 2] = record.name, first + position - 1
    if record.external_id ~= '' then
      external[#external + 1], external[#external + 2] = record.external_id, first + position - 1
    end
  end
  redis.call('HSET', g .. ':names', unpack(names))
  if #external > 0 then
    redis.call('HSET', g .. ':external', unpack(external))
  end
  list_names(first, records)
  return first
end

local function drop_subject(n, record)
  redis.call('HDEL', g .. ':names', record.name)
  redis.call('HDEL', g .. ':subjects', n)
  if record.external_id ~= '' then
    redis.call('HDEL', g .. ':external', record.external_id)
  end
  unlist_name(n)
end
