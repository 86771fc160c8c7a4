--[[ Every change of a gallery. Each takes the next sequence number and writes one entry of the log; gallery.lua says where. ]]

-- Takes templates `ids`, all of subject n, out of the gallery; with `gone` the subject as well.
local function remove(n, record, ids, now_ms, gone)
  local sequence, bytes = next_sequence(), width()
  local slots, vectors, details = {}, {}, {}
  for position, id in ipairs(ids) do
    local known = template(id)
    slots[position], vectors[position] = known[2], read_row(own(), known[2], bytes)
    details[position] = {id, known[3], known[4], known[5]}
    free_template(id, known, bytes)
    record.foreign[id] = nil
  end
  record.templates = without(record.templates, set_of(ids))
  local payload = {n = n, id = record.id, name = record.name, templates = details}
  if gone then
    payload.before = packed(record)
    drop_subject(n, record)
  else
    keep(n, record, sequence)
  end
  return log('remove', n, now_ms, sequence, slots, payload, gone and {gone = n}, table.concat(vectors))
end

-- Gives templates `ids` of subject `from` to subject `to`. how.drop: `from` is no more. how.created: `to` is new.
-- how.forget_changes: what `to` had taken over in the merge that is being undone.
local function move(from, source, to, target, ids, now_ms, how)
  local sequence, slots = next_sequence(), {}
  for position, id in ipairs(ids) do
    local known = template(id)
    slots[position] = known[2]
    write_rows(':o:', known[2], OWNER_BYTES, struct.pack('<I4', to) .. string.sub(read_row(':o:', known[2], OWNER_BYTES), 5))
    target.foreign[id] = source.foreign[id] or known[6]
    source.foreign[id] = nil
    known[1] = to
    redis.call('HSET', g .. ':templates', id, cjson.encode(known))
    table.insert(target.templates, id)
  end
  local payload = {n = to, id = target.id, name = target.name, templates = ids, created = how.created}
  local extra = {from = from}
  if how.drop then
    payload.before = packed(source)
    for _, each in ipairs(source.changes) do
      table.insert(target.changes, each)
    end
    drop_subject(from, source)
    extra.gone = from
  else
    source.templates = without(source.templates, set_of(ids))
    source.changes = without(source.changes, set_of(how.forget_changes or {}))
    keep(from, source)
  end
  keep(to, target, sequence)
  return log('move', to, now_ms, sequence, slots, payload, extra)
end

function operations.create(name, model_id, dimension, bytes, settings, now_ms, epoch, sealed)
  if redis.call('EXISTS', g .. ':meta') == 0 then
    redis.call('HSET', g .. ':meta', 'model_id', model_id, 'dimension', dimension, 'width', bytes, 'settings', settings,
      'created_ms', now_ms, 'epoch', epoch, 'sequence', 0, 'next_slot', 0, 'next_subject', 0, 'trimmed', 0,
      'sealed', sealed)
  end
  redis.call('SADD', KEYS[2], name)
  return {'ok'}
end

-- What of an enrolment is new. ARGV from 4 on, for each subject: name, id if it is new (or JSON {id, created_ms, external_id,
-- metadata}), how many, and so many times template_id, vector, image, quality, enrolled_ms ('' for now). Gives those groups with their new templates' positions, the numbers of the names
-- and, by template id, the sequence numbers known already; nil and why when a vector is of another size or
-- sealed by a key that may not seal any more.
local function look(bytes, key)
  local groups, names, ids, position = {}, {}, {}, 4
  while position <= #ARGV do
    local last = position + 2 + 5 * tonumber(ARGV[position + 2])
    table.insert(groups, {name = ARGV[position], id = ARGV[position + 1], from = position + 3, to = last, new = {}})
    table.insert(names, ARGV[position])
    for at = position + 3, last, 5 do
      table.insert(ids, ARGV[at])
      if #ARGV[at + 1] ~= bytes then
        return nil, 'model_mismatch'
      end
      if not sealed_by(key, ARGV[at + 1]) then
        return nil, 'stale_key'
      end
    end
    position = last + 1
  end
  local numbers, since, count, seen = {}, {}, 0, {}
  for position, n in ipairs(redis.call('HMGET', g .. ':names', unpack(names))) do
    numbers[names[position]] = n and tonumber(n)
  end
  for position, text in ipairs(#ids > 0 and redis.call('HMGET', g .. ':templates', unpack(ids)) or {}) do
    since[ids[position]] = text and cjson.decode(text)[6] or nil
  end
  for _, group in ipairs(groups) do
    for at = group.from, group.to, 5 do
      if not since[ARGV[at]] and not seen[ARGV[at]] then
        seen[ARGV[at]] = true
        count = count + 1
        table.insert(group.new, at)
      end
    end
  end
  return groups, numbers, since, count
end

-- Notes on `group` how it begins when it is a new subject; the external id of it that is somebody else's, or nil.
local function introduce(group, taken)
  local who = string.sub(group.id, 1, 1) == '{' and cjson.decode(group.id) or {id = group.id}
  local external_id = who.external_id
  if external_id and (taken[external_id] or redis.call('HEXISTS', g .. ':external', external_id) == 1) then
    return external_id
  end
  taken[external_id or ''] = external_id
  group.who = who
end

-- See `look` for ARGV. Each subject's new templates are one change; the answer holds the sequence number of every template.
function operations.enrol(model_id, now_ms)
  local meta = redis.call('HMGET', g .. ':meta', 'model_id', 'width', 'key', 'trimmed')
  if not meta[1] then
    return {'unknown_gallery'}
  end
  if meta[1] ~= model_id then
    return {'model_mismatch'}
  end
  local groups, numbers, since, count = look(tonumber(meta[2]), meta[3])
  if not groups then
    return {numbers}
  end
  local begun, taken_ids = {}, {}
  for _, group in ipairs(groups) do
    local begins = #group.new > 0 or group.from > group.to
    if begins and not numbers[group.name] and not begun[group.name] then
      local taken = introduce(group, taken_ids)
      if taken then
        return {'external_id_taken', taken}
      end
      begun[group.name] = true
    end
  end
  now_ms = tonumber(now_ms)
  local slots, templates, records, used = nil, {}, {}, 0
  for _, group in ipairs(groups) do
    if #group.new > 0 or group.from > group.to and not numbers[group.name] then
      local sequence = next_sequence()
      slots = slots or take_slots(count)
      local n, created = numbers[group.name], nil
      if not n then
        local who = group.who
        n, records[group.name] = add_subject(group.name, who.id, who.created_ms or now_ms)
        numbers[group.name], created = n, true
        if who.external_id then
          redis.call('HSET', g .. ':external', who.external_id, n)
          records[group.name].external_id = who.external_id
        end
        records[group.name].metadata = who.metadata or {}
      end
      local record = records[group.name] or subject(n)
      records[group.name] = record
      local taken, ids = {}, {}
      for position, at in ipairs(group.new) do
        used = used + 1
        taken[position], ids[position] = slots[used], ARGV[at]
        since[ARGV[at]] = sequence
        table.insert(record.templates, ARGV[at])
        table.insert(templates,
          {n, slots[used], ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4]) or now_ms, sequence})
      end
      table.insert(record.changes, sequence)
      log('enrol', n, now_ms, sequence, taken,
        {n = n, id = record.id, name = group.name, templates = ids, created = created})
    end
  end
  put_templates(templates)
  for name, record in pairs(records) do
    keep(numbers[name], record, nil, tonumber(meta[4]))
  end
  local answer = {'ok'}
  for _, group in ipairs(groups) do
    for at = group.from, group.to, 5 do
      table.insert(answer, tostring(since[ARGV[at]]))
    end
  end
  return answer
end

-- ARGV from 4 on: template ids.
function operations.remove(name, now_ms)
  local n = tonumber(redis.call('HGET', g .. ':names', name))
  if not n then
    return missing()
  end
  local ids = rest(4)
  for _, id in ipairs(ids) do
    local known = template(id)
    if not known or known[1] ~= n then
      return {'unknown_template', id}
    end
  end
  return remove(n, subject(n), ids, now_ms)
end

-- ARGV from 6 on: template ids. Whoever `to` names is added when there is nobody.
function operations.move(name, to, new_id, now_ms)
  local from = tonumber(redis.call('HGET', g .. ':names', name))
  if not from then
    return missing()
  end
  local ids = rest(6)
  for _, id in ipairs(ids) do
    local known = template(id)
    if not known or known[1] ~= from then
      return {'unknown_template', id}
    end
  end
  local target, record, created = tonumber(redis.call('HGET', g .. ':names', to)), nil, nil
  if target == from then
    return {'same_subject'}
  end
  if target then
    record = subject(target)
  else
    target, record = add_subject(to, new_id, tonumber(now_ms))
    created = true
  end
  return move(from, subject(from), target, record, ids, now_ms, {created = created})
end

function operations.merge(name, into, now_ms)
  local from, to = tonumber(redis.call('HGET', g .. ':names', name)), tonumber(redis.call('HGET', g .. ':names', into))
  if not from or not to then
    return {missing()[1], from and into or name}
  end
  if from == to then
    return {'same_subject'}
  end
  local source = subject(from)
  return move(from, source, to, subject(to), source.templates, now_ms, {drop = true})
end

local function rename(n, record, new, now_ms)
  local sequence, before = next_sequence(), record.name
  redis.call('HDEL', g .. ':names', before)
  redis.call('HSET', g .. ':names', new, n)
  record.name = new
  unlist_name(n)
  list_name(n, record)
  keep(n, record, sequence)
  return log('rename', n, now_ms, sequence, {}, {n = n, id = record.id, name = new, before = before})
end

function operations.rename(old, new, now_ms)
  local n = tonumber(redis.call('HGET', g .. ':names', old))
  if not n then
    return missing()
  end
  if old == new then
    return {'ok', redis.call('HGET', g .. ':meta', 'sequence')}
  end
  if redis.call('HEXISTS', g .. ':names', new) == 1 then
    return {'name_taken'}
  end
  return rename(n, subject(n), new, now_ms)
end

local function describe(n, record, external_id, metadata, now_ms)
  local sequence, before = next_sequence(), {record.external_id, record.metadata}
  if record.external_id ~= '' then
    redis.call('HDEL', g .. ':external', record.external_id)
  end
  if external_id ~= '' then
    redis.call('HSET', g .. ':external', external_id, n)
  end
  record.external_id, record.metadata, record.described = external_id, metadata, sequence
  keep(n, record, sequence)
  return log('describe', n, now_ms, sequence, {},
    {n = n, id = record.id, name = record.name, external_id = external_id, metadata = metadata, before = before})
end

function operations.describe(name, external_id, metadata, now_ms)
  local n = tonumber(redis.call('HGET', g .. ':names', name))
  if not n then
    return missing()
  end
  local holder = external_id ~= '' and tonumber(redis.call('HGET', g .. ':external', external_id))
  if holder and holder ~= n then
    return {'external_id_taken'}
  end
  return describe(n, subject(n), external_id, cjson.decode(metadata), now_ms)
end

local function settle(settings, now_ms)
  local sequence, before = next_sequence(), redis.call('HGET', g .. ':meta', 'settings')
  redis.call('HSET', g .. ':meta', 'settings', settings)
  return log('settings', 0, now_ms, sequence, {}, {n = 0, settings = settings, before = before})
end

function operations.settings(settings, now_ms)
  if redis.call('EXISTS', g .. ':meta') == 0 then
    return {'unknown_gallery'}
  end
  return settle(settings, now_ms)
end

-- Takes out of change `sequence` what it tells of a subject that is about to go. A negative one is somebody else's: a merge
-- that was undone tells of both.
local function erase(sequence)
  if sequence > 0 then
    redis.call('HDEL', g .. ':payloads', sequence)
    return
  end
  local payload = payload_of(-sequence)
  if payload then
    payload.before = nil
    redis.call('HSET', g .. ':payloads', -sequence, cjson.encode(payload))
  end
end

local function strip(sequence, id)
  local payload = payload_of(sequence)
  if payload then
    payload.templates, payload.stripped = without(payload.templates, {[id] = true}), true
    redis.call('HSET', g .. ':payloads', sequence, cjson.encode(payload))
  end
end

function operations.forget(name, now_ms)
  local n = tonumber(redis.call('HGET', g .. ':names', name))
  if not n then
    return missing()
  end
  -- First a delete: from here on nothing is refused, however full the memory is.
  redis.call('HDEL', g .. ':names', name)
  local record, bytes, slots = subject(n), width(), {}
  local answer = {'ok', '', record.id, #record.templates, #record.changes}
  for _, sequence in ipairs(record.changes) do
    erase(sequence)
  end
  for id, sequence in pairs(record.foreign) do
    strip(sequence, id)
  end
  for _, id in ipairs(record.templates) do
    local known = template(id)
    free_template(id, known, bytes)
    table.insert(slots, known[2])
    table.insert(answer, known[3])
  end
  drop_subject(n, record)
  local sequence = next_sequence()
  log('forget', n, now_ms, sequence, slots, nil, {gone = n})
  answer[2] = tostring(sequence)
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
