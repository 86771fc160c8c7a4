--[[ Galleries in Redis: the key schema, and every change of it.

  {prefix}:galleries           set     names of all galleries
  with g = {prefix}:g:{name}:
  g:meta                       hash    model_id, dimension, epoch, created_ms, cutoff ('' or absent: the model's own),
                                       sequence (of the newest change), next_slot (slots ever used),
                                       trimmed (the newest sequence number cut off the log)
  g:b:{k}                      string  packed block k: float32 little endian, slot s at row s % 1024 of block s / 1024.
                                       May end early; what is missing, and every free slot, is zero
  g:slots                      hash    slot -> JSON [subject_id, template_id, image, quality, enrolled_ms, sequence]
  g:templates                  hash    template_id -> slot, so that an enrolment delivered twice is seen
  g:subjects                   hash    subject_id -> JSON {name, created_ms, renames: [sequence, ...]}
  g:names                      hash    name -> subject_id
  g:of:{subject_id}            set     slots of the subject
  g:free                       list    slots to use again
  g:log                        stream  entry {sequence}-0: op, subject (its id), at (Unix ms). Without holes
  g:payloads                   hash    sequence -> what the change carries: JSON, newline, vector bytes

  Why payloads stand beside the stream: XDEL only marks an entry. Entries are packed in nodes of several, and the bytes of
  a deleted one stay in memory, in DUMP and in RDB files until all of its node are gone. A hash field is really freed.
  It also leaves the stream without holes, so a reader who misses a number knows that the log was trimmed.

  One file, dispatching on ARGV[1], because the operations share how a change is written: one sequence number, one log
  entry, one place that can get it wrong. The keys of a gallery are computed from KEYS[1] = g (KEYS[2] is the set of galleries); this needs all of them on
  one server, which is where one gallery lives.

  No operation can stop halfway: what may be refused is checked before the first write, and when memory is full Redis
  refuses only commands that add (HINCRBY, HSET, SETRANGE), and only as long as the script has written nothing.
  Operations that add begin with such a command and so fail whole; forget and trim begin with a delete and so succeed.
]]

local g = KEYS[1]
local BLOCK_ROWS = 1024

local function log(op, subject_id, at_ms, payload, sequence)
  if payload then
    redis.call('HSET', g .. ':payloads', sequence, payload)
  end
  redis.call('XADD', g .. ':log', sequence .. '-0', 'op', op, 'subject', subject_id, 'at', at_ms)
end

local function next_sequence()
  return redis.call('HINCRBY', g .. ':meta', 'sequence', 1)
end

local function place(slot, width)
  return g .. ':b:' .. math.floor(slot / BLOCK_ROWS), (slot % BLOCK_ROWS) * width
end

local operations = {}

function operations.create(name, model_id, dimension, cutoff, now_ms, epoch)
  if redis.call('EXISTS', g .. ':meta') == 0 then
    redis.call('HSET', g .. ':meta', 'model_id', model_id, 'dimension', dimension, 'cutoff', cutoff,
      'created_ms', now_ms, 'epoch', epoch, 'sequence', 0, 'next_slot', 0, 'trimmed', 0)
  end
  redis.call('SADD', KEYS[2], name)
  return {'ok'}
end

function operations.enrol(model_id, name, new_id, template_id, vector, image, quality, now_ms)
  local meta = redis.call('HMGET', g .. ':meta', 'model_id', 'dimension')
  if not meta[1] then
    return {'unknown_gallery'}
  end
  if meta[1] ~= model_id or tonumber(meta[2]) * 4 ~= #vector then
    return {'model_mismatch'}
  end
  local slot = redis.call('HGET', g .. ':templates', template_id)
  if slot then
    return {'ok', cjson.decode(redis.call('HGET', g .. ':slots', slot))[6]}
  end
  local sequence = next_sequence()
  local subject_id = redis.call('HGET', g .. ':names', name)
  if not subject_id then
    subject_id = new_id
    redis.call('HSET', g .. ':names', name, subject_id)
    redis.call('HSET', g .. ':subjects', subject_id, cjson.encode({name = name, created_ms = now_ms, renames = {}}))
  end
  slot = redis.call('LPOP', g .. ':free') or redis.call('HINCRBY', g .. ':meta', 'next_slot', 1) - 1
  local block, offset = place(slot, #vector)
  redis.call('SETRANGE', block, offset, vector)
  redis.call('HSET', g .. ':slots', slot,
    cjson.encode({subject_id, template_id, image, quality, now_ms, tostring(sequence)}))
  redis.call('HSET', g .. ':templates', template_id, slot)
  redis.call('SADD', g .. ':of:' .. subject_id, slot)
  log('enrol', subject_id, now_ms,
    cjson.encode({name, tostring(slot), template_id, image, quality}) .. '\n' .. vector, sequence)
  return {'ok', tostring(sequence)}
end

function operations.rename(old, new, now_ms)
  local subject_id = redis.call('HGET', g .. ':names', old)
  if not subject_id then
    return {redis.call('EXISTS', g .. ':meta') == 0 and 'unknown_gallery' or 'unknown_subject'}
  end
  if old == new then
    return {'ok', redis.call('HGET', g .. ':meta', 'sequence')}
  end
  if redis.call('HEXISTS', g .. ':names', new) == 1 then
    return {'name_taken'}
  end
  local sequence = next_sequence()
  redis.call('HDEL', g .. ':names', old)
  redis.call('HSET', g .. ':names', new, subject_id)
  local subject = cjson.decode(redis.call('HGET', g .. ':subjects', subject_id))
  subject.name = new
  table.insert(subject.renames, tostring(sequence))
  redis.call('HSET', g .. ':subjects', subject_id, cjson.encode(subject))
  log('rename', subject_id, now_ms, cjson.encode({new}) .. '\n', sequence)
  return {'ok', tostring(sequence)}
end

function operations.forget(name, now_ms)
  local subject_id = redis.call('HGET', g .. ':names', name)
  if not subject_id then
    return {redis.call('EXISTS', g .. ':meta') == 0 and 'unknown_gallery' or 'unknown_subject'}
  end
  -- First a delete: from here on nothing is refused, however full the memory is.
  redis.call('HDEL', g .. ':names', name)
  local subject = cjson.decode(redis.call('HGET', g .. ':subjects', subject_id))
  for _, sequence in ipairs(subject.renames) do
    redis.call('HDEL', g .. ':payloads', sequence)
  end
  local width = tonumber(redis.call('HGET', g .. ':meta', 'dimension')) * 4
  local nothing = string.rep('\0', width)
  local slots = redis.call('SMEMBERS', g .. ':of:' .. subject_id)
  local answer = {'ok', '', subject_id, #slots}
  for _, slot in ipairs(slots) do
    local template = cjson.decode(redis.call('HGET', g .. ':slots', slot))
    local block, offset = place(slot, width)
    redis.call('SETRANGE', block, offset, nothing)
    redis.call('HDEL', g .. ':payloads', template[6])
    redis.call('HDEL', g .. ':templates', template[2])
    redis.call('HDEL', g .. ':slots', slot)
    redis.call('RPUSH', g .. ':free', slot)
    table.insert(answer, template[3])
  end
  redis.call('DEL', g .. ':of:' .. subject_id)
  redis.call('HDEL', g .. ':subjects', subject_id)
  local sequence = next_sequence()
  log('forget', subject_id, now_ms, nil, sequence)
  answer[2] = tostring(sequence)
  return answer
end

function operations.cutoff(cutoff, now_ms)
  if redis.call('EXISTS', g .. ':meta') == 0 then
    return {'unknown_gallery'}
  end
  local sequence = next_sequence()
  redis.call('HSET', g .. ':meta', 'cutoff', cutoff)
  log('cutoff', '', now_ms, cjson.encode({cutoff}) .. '\n', sequence)
  return {'ok', tostring(sequence)}
end

-- Read in a script: between two reads the subject could be forgotten and its slots be somebody else's.
function operations.show(name)
  local subject_id = redis.call('HGET', g .. ':names', name)
  if not subject_id then
    return {redis.call('EXISTS', g .. ':meta') == 0 and 'unknown_gallery' or 'unknown_subject'}
  end
  local answer = {'ok', subject_id, redis.call('HGET', g .. ':subjects', subject_id)}
  for _, slot in ipairs(redis.call('SMEMBERS', g .. ':of:' .. subject_id)) do
    table.insert(answer, slot)
    table.insert(answer, redis.call('HGET', g .. ':slots', slot))
  end
  return answer
end

-- At most `limit` entries a call, so that nobody waits long for it. The newest entry always stays: a reader who is behind
-- is then always woken by it, and sees by its number that he missed something.
function operations.trim(before_ms, limit)
  local newest = redis.call('HGET', g .. ':meta', 'sequence')
  if not newest then
    return {'unknown_gallery'}
  end
  local cut = {}
  for _, entry in ipairs(redis.call('XRANGE', g .. ':log', '-', '+', 'COUNT', limit)) do
    local sequence = string.match(entry[1], '^%d+')
    if sequence == newest or tonumber(entry[2][6]) >= tonumber(before_ms) then
      break
    end
    table.insert(cut, sequence)
  end
  if #cut > 0 then
    redis.call('XTRIM', g .. ':log', 'MINID', string.format('%.0f-0', tonumber(cut[#cut]) + 1))
    redis.call('HDEL', g .. ':payloads', unpack(cut))
    redis.call('HSET', g .. ':meta', 'trimmed', cut[#cut])
  end
  return {'ok', #cut}
end

local arguments = {}
for position = 2, #ARGV do
  arguments[position - 1] = ARGV[position]
end
return operations[ARGV[1]](unpack(arguments))
