--[[ Every change of a gallery. Each takes the next sequence number and writes one entry of the log; gallery.lua says where. ]]

-- A subject is no more, by the change `sequence`, which tells how it was and can be undone.
local function end_subject(n, record, sequence)
  drop_subject(n, record)
  redis.call('HSET', g .. ':ended', n, sequence)
end

-- Takes templates `ids`, all of subject n, out of the gallery; with `gone` the subject as well.
local function remove(n, record, ids, now_ms, gone)
  local sequence, bytes = next_sequence(), width()
  local slots, vectors, details = {}, {}, {}
  for position, id in ipairs(ids) do
    local known = template(id)
    slots[position], vectors[position] = known[2], read_row(own(), known[2], bytes)
    details[position] = {id, known[3], known[4], known[5], tellers(known)}
    free_template(id, known, bytes)
  end
  count_removed(details, 1)
  record.templates = without(record.templates, set_of(ids))
  local payload = {n = n, id = record.id, name = record.name, templates = details}
  if gone then
    payload.before = packed(record)
    end_subject(n, record, sequence)
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
    known[1], known[7] = to, known[7] or {}
    table.insert(known[7], sequence)
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
    end_subject(from, source, sequence)
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
    -- What is left of the former one stands under the name until all of it is erased (gone_redis.py).
    if redis.call('HEXISTS', string.gsub(KEYS[2], 'galleries$', 'gone'), name) == 1 then
      return {'being_forgotten'}
    end
    redis.call('HSET', g .. ':meta', 'model_id', model_id, 'dimension', dimension, 'width', bytes, 'settings', settings,
      'created_ms', now_ms, 'epoch', epoch, 'sequence', 0, 'next_slot', 0, 'next_subject', 0, 'trimmed', 0,
      'sealed', sealed)
  end
  redis.call('SADD', KEYS[2], name)
  return {'ok'}
end

-- The number of the subject called `name`, whose templates all of `ids` are; or nil and what is wrong.
local function owner_of(name, ids)
  local n = number_of(name)
  if not n then
    return nil, missing()
  end
  for _, id in ipairs(ids) do
    local known = template(id)
    if not known or known[1] ~= n then
      return nil, {'unknown_template', id}
    end
  end
  return n
end

-- ARGV from 4 on: template ids.
function operations.remove(name, now_ms)
  local ids = rest(4)
  local n, wrong = owner_of(name, ids)
  return wrong or remove(n, subject(n), ids, now_ms)
end

-- ARGV from 6 on: template ids, none for all of them: then `name` is no more, and `to` must be somebody. Else whoever `to`
-- names is added when there is nobody.
function operations.move(name, to, new_id, now_ms)
  local ids = rest(6)
  local from, wrong = owner_of(name, ids)
  if wrong then
    return wrong
  end
  local target, record, how = number_of(to), nil, {drop = #ids == 0}
  if target == from then
    return {'same_subject'}
  end
  if target then
    record = subject(target)
  elseif how.drop then
    return {'unknown_subject', to}
  else
    record, how.created = new_subject(new_id, to, tonumber(now_ms)), true
    target = add_subjects({record})
  end
  local source = subject(from)
  return move(from, source, target, record, how.drop and source.templates or ids, now_ms, how)
end

local function rename(n, record, new, now_ms)
  local sequence, before = next_sequence(), record.name
  redis.call('HDEL', g .. ':names', before)
  redis.call('HSET', g .. ':names', new, n)
  record.name = new
  unlist_name(n)
  list_names(n, {record})
  keep(n, record, sequence)
  return log('rename', n, now_ms, sequence, {}, {n = n, id = record.id, name = new, before = before})
end

function operations.rename(old, new, now_ms)
  local n = number_of(old)
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

-- Whether the notes are the same.
local function alike(one, other)
  for key, value in pairs(one) do
    if other[key] ~= value then
      return false
    end
  end
  for key in pairs(other) do
    if one[key] == nil then
      return false
    end
  end
  return true
end

-- seen_id, seen_external, seen_metadata: of the subject as the caller saw it who decided on the rest; nil where he does not say.
function operations.describe(name, external_id, metadata, now_ms, seen_id, seen_external, seen_metadata)
  local n = number_of(name)
  if not n then
    return missing()
  end
  local known = subject(n)
  if seen_id and (known.id ~= seen_id or known.external_id ~= seen_external or
    not alike(known.metadata, cjson.decode(seen_metadata))) then
    return {'noted_meanwhile'}
  end
  local holder = external_id ~= '' and tonumber(redis.call('HGET', g .. ':external', external_id))
  if holder and holder ~= n then
    return {'external_id_taken'}
  end
  return describe(n, known, external_id, cjson.decode(metadata), now_ms)
end

local function settle(settings, now_ms)
  local sequence, before = next_sequence(), redis.call('HGET', g .. ':meta', 'settings')
  redis.call('HSET', g .. ':meta', 'settings', settings)
  return log('settings', 0, now_ms, sequence, {}, {n = 0, settings = settings, before = before})
end

-- before, model_id: the settings and the model the caller decided by; nil where he does not say.
function operations.settings(settings, now_ms, before, model_id)
  local meta = redis.call('HMGET', g .. ':meta', 'settings', 'model_id')
  if not meta[1] then
    return {'unknown_gallery'}
  end
  if before and (meta[1] ~= before or meta[2] ~= model_id) then
    return {'set_meanwhile'}
  end
  return settle(settings, now_ms)
end
