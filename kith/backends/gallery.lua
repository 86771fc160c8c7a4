--[[ Galleries in Redis: the key schema and how it is written. gallery_change.lua holds the changes, gallery_undo.lua takes
  them back, gallery_read.lua reads, gallery_migrate.lua moves to another model; all are sent as one script, this file first.

  {prefix}:galleries           set     names of all galleries
  with g = {prefix}:g:{name}:
  g:meta                       hash    model_id, dimension, width (bytes of a packed row), epoch, created_ms, settings (JSON),
                                       sequence (of the newest change), next_slot (slots ever used), next_subject (numbers
                                       ever given), trimmed (the newest sequence number cut off the log), sealed (1 where
                                       vectors are encrypted), key (id of the only key that may seal, since the
                                       last sealing anew), vectors (b or c: which
                                       of the two sets below is of its model), model_since (sequence of its last change of model)
  g:b:{k}                      string  packed block k of vectors: slot s is row s % 1024 of block s / 1024. float32 little
                                       endian, or sealed where the gallery is encrypted. May end early; what is missing,
                                       and every free slot, is zero
  g:c:{k}                      string  the like, of another model: the one the gallery moves to, or has moved from. Which of b
                                       and c is which, meta says; the other one exists only beside g:migration
  g:w:{k}                      string  beside the other set, 8 bytes a row: sequence (float64) of the enrolment whose template its
                                       vector is of, 0 for none. So it stays true when the two sets change places
  g:migration                  hash    of the other set: model_id, dimension, width, pack, set (b or c), started_ms, have (how many
                                       templates have a vector in it), switched (sequence of the last switch, or 0), settings
                                       (JSON, in force when its model last was), puts
  g:unable                     hash    template_id -> why its picture has no vector of the other model
  g:o:{k}                      string  beside both, 16 bytes a row: subject number (uint32, 0 for a free slot), quality (float32),
                                       sequence of the change that put the template there (float64)
  g:n:{k}                      string  names of subjects 1024 k .. 1024 k + 1023, a JSON line [number, id, name] each, in no order
  g:templates                  hash    template_id -> JSON [number, slot, image, quality, enrolled_ms, sequence]
  g:subjects                   hash    number -> JSON, without what is empty: {id, name, created_ms, external_id, metadata,
                                       templates: [template_id],
                                       changes: [sequence of each payload that tells of this subject, negative where only its
                                       `before` does and the rest is somebody else's], described: sequence,
                                       foreign: {template_id: sequence that enrolled it for a subject it was moved from}}
  g:names                      hash    name -> number
  g:external                   hash    external_id -> number
  g:free                       list    slots to use again
  g:log                        stream  entry {sequence}-0: op, n (number), at (Unix ms), slots (space between), and where they
                                       apply from (number the templates came from) and gone (number of the subject that
                                       is no more). Nothing personal, so it stays whoever is forgotten. Without holes
  g:payloads                   hash    sequence -> what is personal about a change, JSON; for a removal, newline, vectors

  Blocks, owners and names are what a worker loads: a million templates in some thousands of long strings instead of
  millions of small ones. The hashes are for those who change or look something up.

  Why payloads stand beside the stream: XDEL only marks an entry. Entries are packed in nodes of several, and the bytes of
  a deleted one stay in memory, in DUMP and in RDB files until all of its node are gone. A hash field is really freed.
  It also leaves the stream without holes, so a reader who misses a number knows that the log was trimmed.

  One script, dispatching on ARGV[1], because the operations share how a change is written: one sequence number, one log
  entry, one place that can get it wrong. The keys of a gallery are computed from KEYS[1] = g (KEYS[2] is the set of
  galleries); this needs all of them on one server, which is where one gallery lives.

  No operation can stop halfway: what may be refused is checked before the first write, and when memory is full Redis
  refuses only commands that add (HINCRBY, HSET, SETRANGE), and only as long as the script has written nothing.
  Operations that add begin with such a command and so fail whole; forget and trim begin with a delete and so succeed.
]]

local g = KEYS[1]
local BLOCK_ROWS = 1024
local NAMES_AT_ONCE = 1024
local OWNER = '<I4fd'
local OWNER_BYTES = 16

local operations = {}

local function nothing(bytes)
  return string.rep('\0', bytes)
end

local function width()
  return tonumber(redis.call('HGET', g .. ':meta', 'width'))
end

-- The set of vectors that is of the gallery's model.
local function own()
  return ':' .. (redis.call('HGET', g .. ':meta', 'vectors') or 'b') .. ':'
end

local function missing()
  return {redis.call('EXISTS', g .. ':meta') == 0 and 'unknown_gallery' or 'unknown_subject'}
end

-- Whether a row may be written: none is held to a key before the gallery was first sealed anew.
local function sealed_by(key, row)
  return not key or string.sub(row, 1, #key) == key
end

local function next_sequence()
  return redis.call('HINCRBY', g .. ':meta', 'sequence', 1)
end

-- payload: a table, or nil for a change that has nothing to tell; vectors follow it.
local function log(op, n, at_ms, sequence, slots, payload, extra, vectors)
  if payload then
    redis.call('HSET', g .. ':payloads', sequence, cjson.encode(payload) .. (vectors and '\n' .. vectors or ''))
  end
  local fields = {'op', op, 'n', n, 'at', at_ms}
  if #slots > 0 then
    table.insert(fields, 'slots')
    table.insert(fields, table.concat(slots, ' '))
  end
  for key, value in pairs(extra or {}) do
    table.insert(fields, key)
    table.insert(fields, value)
  end
  redis.call('XADD', g .. ':log', sequence .. '-0', unpack(fields))
  return {'ok', tostring(sequence)}
end

local function payload_of(sequence)
  local text = redis.call('HGET', g .. ':payloads', sequence)
  if not text then
    return nil
  end
  local header, vectors = string.match(text, '^([^\n]*)\n(.*)$')
  return cjson.decode(header or text), vectors
end

-- A subject's record, whole; in Redis it stands without what is empty, which is most of it for most subjects.
local function whole(text)
  local record = cjson.decode(text)
  for _, part in ipairs({'metadata', 'templates', 'changes', 'foreign'}) do
    record[part] = record[part] or {}
  end
  record.external_id = record.external_id or ''
  return record
end

local function subject(n)
  local text = redis.call('HGET', g .. ':subjects', n)
  return text and whole(text)
end

local function packed(record)
  local full = {}
  for part, value in pairs(record) do
    if value ~= '' and not (type(value) == 'table' and next(value) == nil) then
      full[part] = value
    end
  end
  return cjson.encode(full)
end

-- Changes cut off the log have no payload left to erase, so a subject need not remember them.
local function keep(n, record, sequence, trimmed)
  local still = {}
  trimmed = trimmed or tonumber(redis.call('HGET', g .. ':meta', 'trimmed'))
  for _, each in ipairs(record.changes) do
    if math.abs(each) > trimmed then
      table.insert(still, each)
    end
  end
  if sequence then
    table.insert(still, sequence)
  end
  record.changes = still
  redis.call('HSET', g .. ':subjects', n, packed(record))
end

local function names_key(n)
  return g .. ':n:' .. math.floor(n / NAMES_AT_ONCE)
end

local function list_name(n, record)
  local line = cjson.encode({n, record.id, record.name}) .. '\n'
  if n % NAMES_AT_ONCE == NAMES_AT_ONCE - 1 then
    -- SET allocates exactly; APPEND leaves room to grow, which a full chunk will not need.
    redis.call('SET', names_key(n), (redis.call('GET', names_key(n)) or '') .. line)
  else
    redis.call('APPEND', names_key(n), line)
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

local function add_subject(name, id, now_ms)
  local n = redis.call('HINCRBY', g .. ':meta', 'next_subject', 1)
  local record = {id = id, name = name, created_ms = now_ms, external_id = '', metadata = {}, templates = {}, changes = {},
    foreign = {}}
  redis.call('HSET', g .. ':names', name, n)
  list_name(n, record)
  return n, record
end

local function drop_subject(n, record)
  redis.call('HDEL', g .. ':names', record.name)
  redis.call('HDEL', g .. ':subjects', n)
  if record.external_id ~= '' then
    redis.call('HDEL', g .. ':external', record.external_id)
  end
  unlist_name(n)
end

-- Rows for slot and those after it, all in one block. Blocks grow in steps, those of a large gallery at once, always as a new
-- key: there SETRANGE allocates exactly, at the end of a long string it takes a megabyte ahead. (Zeros made in Lua cost
-- more than all the rest of an enrolment, and would stand in the append-only file.)
local function write_rows(kind, slot, bytes, rows)
  local key, at = g .. kind .. math.floor(slot / BLOCK_ROWS), (slot % BLOCK_ROWS) * bytes
  local length = redis.call('STRLEN', key)
  if length < at + #rows then
    local most = slot >= 4 * BLOCK_ROWS and BLOCK_ROWS or 16
    while most * bytes < at + #rows do
      most = most * 4
    end
    local before = length > 0 and redis.call('GET', key)
    redis.call('DEL', key)
    redis.call('SETRANGE', key, most * bytes - 1, '\0')
    if before then
      redis.call('SETRANGE', key, 0, before)
    end
  end
  redis.call('SETRANGE', key, at, rows)
end

local function read_row(kind, slot, bytes)
  local at = (slot % BLOCK_ROWS) * bytes
  return redis.call('GETRANGE', g .. kind .. math.floor(slot / BLOCK_ROWS), at, at + bytes - 1)
end

-- Slots for so many templates, ascending: those that are free, then new ones. The caller has written before.
local function take_slots(count)
  local slots = redis.call('LPOP', g .. ':free', count) or {}
  local first = redis.call('HINCRBY', g .. ':meta', 'next_slot', count - #slots) - count + #slots
  for position = #slots + 1, count do
    slots[position] = first
    first = first + 1
  end
  for position, slot in ipairs(slots) do
    slots[position] = tonumber(slot)
  end
  table.sort(slots)
  return slots
end

-- Writes templates {n, slot, id, vector, image, quality, enrolled_ms, sequence}, those with neighbouring slots in one go.
local function put_templates(templates)
  local fields, set = {}, own()
  local first, vectors, owners = nil, {}, {}
  for position, each in ipairs(templates) do
    local n, slot, id, vector, image, quality, enrolled_ms, sequence = unpack(each)
    first = first or slot
    table.insert(vectors, vector)
    table.insert(owners, struct.pack(OWNER, n, tonumber(quality), sequence))
    table.insert(fields, id)
    table.insert(fields, cjson.encode({n, slot, image, quality, enrolled_ms, sequence}))
    local following = templates[position + 1]
    if not following or following[2] ~= slot + 1 or following[2] % BLOCK_ROWS == 0 then
      write_rows(set, first, #vector, table.concat(vectors))
      write_rows(':o:', first, OWNER_BYTES, table.concat(owners))
      first, vectors, owners = nil, {}, {}
    end
    if #fields == 2000 or not following then
      redis.call('HSET', g .. ':templates', unpack(fields))
      fields = {}
    end
  end
end

local function template(id)
  local text = redis.call('HGET', g .. ':templates', id)
  return text and cjson.decode(text)
end

-- For which enrolment the other set has a vector in this slot, 0 for none.
local function other_since(slot)
  local row = read_row(':w:', slot, 8)
  return #row == 8 and struct.unpack('<d', row) or 0
end

local function clear_other(id, slot)
  local other = redis.call('HMGET', g .. ':migration', 'set', 'width')
  if not other[1] then
    return
  end
  if other_since(slot) > 0 then
    write_rows(':' .. other[1] .. ':', slot, tonumber(other[2]), nothing(tonumber(other[2])))
    write_rows(':w:', slot, 8, nothing(8))
    redis.call('HINCRBY', g .. ':migration', 'have', -1)
  end
  redis.call('HDEL', g .. ':unable', id)
end

local function free_template(id, known, bytes)
  clear_other(id, known[2])
  write_rows(own(), known[2], bytes, nothing(bytes))
  write_rows(':o:', known[2], OWNER_BYTES, nothing(OWNER_BYTES))
  redis.call('HDEL', g .. ':templates', id)
  redis.call('RPUSH', g .. ':free', known[2])
end

-- The list without the members of the set.
local function without(list, set)
  local left = {}
  for _, each in ipairs(list) do
    if not set[each] then
      table.insert(left, each)
    end
  end
  return left
end

local function set_of(list)
  local set = {}
  for _, each in ipairs(list) do
    set[each] = true
  end
  return set
end

-- The arguments from number `first` on.
local function rest(first)
  local list = {}
  for position = first, #ARGV do
    table.insert(list, ARGV[position])
  end
  return list
end
