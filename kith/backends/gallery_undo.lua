--[[ Undoing: each change has an inverse, which is a change itself, so it can be undone as well and everybody follows it
  like any other. A change can be undone while what it left behind still stands: a name that was given on since, a template
  that was moved on, would be torn from somebody who has it rightly. Forgetting cannot be undone; nothing is left to do it
  with.
]]

-- Whether all templates `ids` are subject n's; for an enrolment, since that very change.
local function all_of(ids, n, sequence)
  for _, id in ipairs(ids) do
    local known = template(id)
    if not known or known[1] ~= n or (sequence and known[6] ~= sequence) then
      return false
    end
  end
  return true
end

-- Brings back subject n as the change that ended it tells, without its templates; nil when somebody else has its name by
-- now. Each ending is undone once: a subject that came back and ended again remembers more than the first ending tells, and
-- what it would not remember could not be erased with it. told: that change, negative where it is another subject's.
local function bring_back(n, payload, vectors, told)
  local record = whole(payload.before)
  if payload.undone or redis.call('HEXISTS', g .. ':names', record.name) == 1 or
    redis.call('HEXISTS', g .. ':subjects', n) == 1 then
    return nil
  end
  redis.call('HSET', g .. ':names', record.name, n)
  redis.call('HDEL', g .. ':ended', n)
  payload.undone = true
  redis.call('HSET', g .. ':payloads', math.abs(told), cjson.encode(payload) .. (vectors and '\n' .. vectors or ''))
  if record.external_id ~= '' and redis.call('HSETNX', g .. ':external', record.external_id, n) == 0 then
    record.external_id = ''
  end
  list_names(n, {record})
  record.templates = {}
  table.insert(record.changes, told)
  return record
end

local undo = {}

function undo.enrol(n, payload, sequence, now_ms)
  local record = subject(n)
  if not record or not all_of(payload.templates, n, sequence) then
    return {'changed_since'}
  end
  return remove(n, record, payload.templates, now_ms, payload.created and #record.templates == #payload.templates)
end

function undo.remove(n, payload, undone, now_ms, _, vectors)
  for _, each in ipairs(payload.templates) do
    if template(each[1]) then
      return {'changed_since'}
    end
  end
  if by_old_key(vectors, width(), redis.call('HGET', g .. ':meta', 'old_keys')) then
    -- Brought back where rows have been sealed anew already, it would be lost with its key.
    return {'not_sealed_anew'}
  end
  local record
  if payload.before then
    record = bring_back(n, payload, vectors, undone)
  else
    record = subject(n)
  end
  if not record then
    return {'changed_since'}
  end
  local sequence = next_sequence()
  local slots, ids, templates = take_slots(#payload.templates), {}, {}
  for position, each in ipairs(payload.templates) do
    local details = string.sub(cjson.encode({each[2], each[3], each[4]}), 2, -2)
    templates[position] = {n, slots[position], each[1], details, tonumber(each[3]), sequence, position, each[5]}
    table.insert(each[5], undone)
    ids[position] = each[1]
    table.insert(record.templates, each[1])
  end
  put_templates(templates, vectors, width())
  keep(n, record, sequence)
  return log('enrol', n, now_ms, sequence, slots,
    {n = n, id = record.id, name = record.name, templates = ids, created = payload.before and true or nil})
end

function undo.move(n, payload, undone, now_ms, from)
  local record = subject(n)
  if not record or not all_of(payload.templates, n) then
    return {'changed_since'}
  end
  local source, theirs = nil, nil
  if payload.before then
    source = bring_back(from, payload, nil, -undone)
    theirs = whole(payload.before).changes
  else
    source = subject(from)
  end
  if not source then
    return {'changed_since'}
  end
  return move(n, record, from, source, payload.templates, now_ms,
    {drop = payload.created and #record.templates == #payload.templates, forget_changes = theirs,
      created = payload.before and true or nil})
end

function undo.rename(n, payload, _, now_ms)
  local record = subject(n)
  if not record or record.name ~= payload.name or redis.call('HEXISTS', g .. ':names', payload.before) == 1 then
    return {'changed_since'}
  end
  return rename(n, record, payload.before, now_ms)
end

function undo.describe(n, payload, sequence, now_ms)
  local record, external_id = subject(n), payload.before[1]
  local holder = external_id ~= '' and tonumber(redis.call('HGET', g .. ':external', external_id))
  if not record or record.described ~= sequence or (holder and holder ~= n) then
    return {'changed_since'}
  end
  return describe(n, record, external_id, payload.before[2], now_ms)
end

function undo.settings(_, payload, _, now_ms)
  if redis.call('HGET', g .. ':meta', 'settings') ~= payload.settings then
    return {'changed_since'}
  end
  return settle(payload.before, now_ms)
end

function operations.undo(sequence, now_ms)
  if redis.call('EXISTS', g .. ':meta') == 0 then
    return {'unknown_gallery'}
  end
  local fields = tonumber(sequence) > 0 and entry_of(sequence)
  if not fields then
    return {'no_such_change'}
  end
  if fields.op == 'model' then
    return {'change_of_model'}
  end
  -- What is kept of them, vectors and a cutoff, is of the former model.
  local since = tonumber(redis.call('HGET', g .. ':meta', 'model_since') or 0)
  if tonumber(sequence) < since and (fields.op == 'remove' or fields.op == 'settings') then
    return {'other_model'}
  end
  local payload, vectors = payload_of(sequence)
  if not payload or payload.stripped then
    return {'forgotten_since'}
  end
  return undo[fields.op](tonumber(fields.n), payload, tonumber(sequence), now_ms, tonumber(fields.from), vectors)
end
