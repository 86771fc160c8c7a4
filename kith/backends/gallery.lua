--[[ Galleries in Redis: the key schema and how it is written. gallery_subjects.lua and gallery_slots.lua hold
  what every change is made of; gallery_enrol.lua, gallery_change.lua and gallery_forget.lua the changes, gallery_undo.lua
  takes them back; gallery_read.lua reads, gallery_migrate.lua moves to another model, gallery_drop.lua ends a gallery. All are sent as one script, this file
  first and gallery_run.lua last; those who follow the journal, a hundred times a second each, run a shorter one of what
  reading it needs.

  {prefix}:galleries           set     names of all galleries
  with g = {prefix}:g:{name}:
  g:meta                       hash    model_id, dimension, width (bytes of a packed row), epoch, created_ms, settings (JSON),
                                       sequence (of the newest change), next_slot (slots ever used), next_subject (numbers
                                       ever given), trimmed (the newest sequence number cut off the log), sealed (1 where
                                       vectors are encrypted), old_keys (ids, 4 bytes each, of keys that may seal no
                                       more, since what they sealed is sealed anew), resealed_ms (when last), vectors (b or c:
                                       which of the two sets below is of its model), model_since (sequence of its last change of model)
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
  g:templates                  hash    template_id -> JSON [number, slot, image, quality, enrolled_ms, sequence, told: sequences of
                                       the other changes that name the template; absent where there are none]
  g:subjects                   hash    number -> JSON, without what is empty: {id, name, created_ms, external_id, metadata,
                                       templates: [template_id],
                                       changes: [sequence of each payload that tells of this subject, negative where only its
                                       `before` does and the rest is somebody else's], described: sequence}
  g:ended                      hash    number of a subject that is no more and was not forgotten -> sequence of the change that
                                       ended it, until that is cut off the log
  g:names                      hash    name -> number
  g:external                   hash    external_id -> number
  g:i:{bucket}                 hash    of a picture -> how many templates, and entries of removals in g:payloads, are of it: which
                                       pictures must stay is asked all the time. Bucket and field are digits 1-3 and 4-15 of its
                                       key's SHA-1: in so many small hashes a field takes a third of what it does in a large one
  g:free                       list    slots to use again
  g:r:{request}                string  the answer to a change (JSON), for some minutes; a client that did not get it asks again
  g:log                        stream  entry {sequence}-0: op, n (number), at (Unix ms), slots (space between), and where they
                                       apply from (number the templates came from), gone (number of the subject that
                                       is no more) and holders (numbers of those who had templates of somebody forgotten). Nothing personal, so it stays whoever is forgotten. Without holes
  g:payloads                   hash    sequence -> what is personal about a change, JSON; for a removal, newline, vectors

  of a gallery that was dropped, under {prefix}:gone:{epoch}: until they are erased, as they were:
  b:{k}, c:{k}, w:{k}, o:{k}, n:{k}
  templates, payloads                  until the pictures that they tell of are deleted
  extent                       hash    how many blocks and chunks there are; sequence, subjects, templates, payloads: what it had

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
local OWNER = '<I4fd'
local OWNER_BYTES = 16
local KEY_BYTES = 4

local operations = {}

-- Whether this run has changed anything.
local changed = false

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

-- Whether one of `rows` (a string, of so many bytes each) must not be written, because an old key sealed it: whoever did has
-- yet to read the newer one. Old ones are named and not the newest, so that a key which is added may seal at once.
local function by_old_key(rows, bytes, old)
  if not old then
    return false
  end
  local known = {}
  for place = 1, #old, KEY_BYTES do
    known[string.sub(old, place, place + KEY_BYTES - 1)] = true
  end
  for place = 1, #rows, bytes do
    if known[string.sub(rows, place, place + KEY_BYTES - 1)] then
      return true
    end
  end
  return false
end

-- The first of so many numbers, for one change each.
local function next_sequences(count)
  return redis.call('HINCRBY', g .. ':meta', 'sequence', count) - count + 1
end

local function next_sequence()
  return next_sequences(1)
end

local function write_log(op, n, at_ms, sequence, slots, extra)
  changed = true
  local id = sequence .. '-0'
  if not extra and slots[1] then
    -- An enrolment, of which there are so many that a list of the fields is felt.
    redis.call('XADD', g .. ':log', id, 'op', op, 'n', n, 'at', at_ms, 'slots', table.concat(slots, ' '))
    return
  end
  local fields = {'op', op, 'n', n, 'at', at_ms}
  if #slots > 0 then
    fields[7], fields[8] = 'slots', table.concat(slots, ' ')
  end
  for key, value in pairs(extra or {}) do
    table.insert(fields, key)
    table.insert(fields, value)
  end
  redis.call('XADD', g .. ':log', id, unpack(fields))
end

-- payload: a table, or nil for a change that has nothing to tell; vectors follow it.
local function log(op, n, at_ms, sequence, slots, payload, extra, vectors)
  if payload then
    redis.call('HSET', g .. ':payloads', sequence, cjson.encode(payload) .. (vectors and '\n' .. vectors or ''))
  end
  write_log(op, n, at_ms, sequence, slots, extra)
  return {'ok', tostring(sequence)}
end

-- The fields of an entry of the log; nil where there is none.
local function entry_of(sequence)
  local entry, fields = redis.call('XRANGE', g .. ':log', sequence .. '-0', sequence .. '-0')[1], {}
  if not entry then
    return nil
  end
  for position = 1, #entry[2], 2 do
    fields[entry[2][position]] = entry[2][position + 1]
  end
  return fields
end

local function payload_of(sequence)
  local text = redis.call('HGET', g .. ':payloads', sequence)
  if not text then
    return nil
  end
  local header, vectors = string.match(text, '^([^\n]*)\n(.*)$')
  return cjson.decode(header or text), vectors
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
