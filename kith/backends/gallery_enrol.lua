--[[ Enrolling, the change that comes in bulk. What its subjects need is written in one command for all of them, only the log
  takes an entry each; and what is stored as it came is not decoded. (Written plainly, one command after the other, the
  script alone took most of the time of an import.)

  told: for each subject name, id if he is new (or {id, created_ms, external_id, metadata}), how many templates, and so many
  times template_id, details (JSON: image, quality, enrolled_ms), quality.
]]

-- Groups {name, who, first, last, new}; ids, details and qualities of templates; numbers of those names that are known; by
-- template id the sequence numbers of those that are there. new: places of those that are not.
local function look(told)
  local groups, names, ids, details, qualities, at = {}, {}, {}, {}, {}, 1
  while told[at] do
    local group = {name = told[at], who = told[at + 1], first = #ids + 1, last = #ids + told[at + 2], new = {}}
    groups[#groups + 1], names[#names + 1], at = group, group.name, at + 3
    for place = group.first, group.last do
      ids[place], details[place], qualities[place], at = told[at], told[at + 1], told[at + 2], at + 3
    end
  end
  local numbers, since, seen = {}, {}, {}
  for position, n in ipairs(redis.call('HMGET', g .. ':names', unpack(names))) do
    numbers[names[position]] = n and tonumber(n)
  end
  for place, text in ipairs(#ids > 0 and redis.call('HMGET', g .. ':templates', unpack(ids)) or {}) do
    since[ids[place]] = text and cjson.decode(text)[6] or nil
  end
  for _, group in ipairs(groups) do
    for place = group.first, group.last do
      local id = ids[place]
      if not since[id] and not seen[id] then
        seen[id] = true
        table.insert(group.new, place)
      end
    end
  end
  return groups, ids, details, qualities, numbers, since
end

-- Gives the group its subject, who is new; or the external id he should have, when somebody else has it.
local function introduce(group, taken, now_ms)
  if type(group.who) == 'string' then
    group.record = new_subject(group.who, group.name, now_ms)
    return
  end
  local who = group.who
  local external_id = who.external_id
  if external_id and (taken[external_id] or redis.call('HEXISTS', g .. ':external', external_id) == 1) then
    return external_id
  end
  taken[external_id or ''] = external_id
  group.record = new_subject(who.id, group.name, who.created_ms or now_ms, external_id, who.metadata)
end

-- The groups that change something, and the subjects that begin with them; or nil and an external id that is taken.
local function changing(groups, numbers, now_ms)
  local changes, begun, known, taken = {}, {}, {}, {}
  for _, group in ipairs(groups) do
    local begins = not numbers[group.name] and not known[group.name]
    if #group.new > 0 or (begins and group.first > group.last) then
      if begins then
        local holder = introduce(group, taken, now_ms)
        if holder then
          return nil, holder
        end
        known[group.name] = true
        table.insert(begun, group.record)
      end
      table.insert(changes, group)
    end
  end
  return changes, begun
end

-- vectors: the rows of all templates, in order. Each subject's new templates are one change. The answer holds the sequence
-- number of every template, a space between; and that of the last change, '' when there was nothing to change.
function operations.enrol(model_id, now_ms, told, vectors)
  local meta = redis.call('HMGET', g .. ':meta', 'model_id', 'width', 'old_keys', 'trimmed')
  if not meta[1] then
    return {'unknown_gallery'}
  end
  local groups, ids, details, qualities, numbers, since = look(cjson.decode(told))
  local bytes = tonumber(meta[2])
  if meta[1] ~= model_id or #vectors ~= #ids * bytes then
    return {'model_mismatch'}
  end
  if by_old_key(vectors, bytes, meta[3]) then
    return {'stale_key'}
  end
  local changes, begun = changing(groups, numbers, tonumber(now_ms))
  if not changes then
    return {'external_id_taken', begun}
  end
  local last = ''
  if #changes > 0 then
    local sequence, count, records, templates, payloads = next_sequences(#changes), 0, {}, {}, {}
    if #begun > 0 then
      local first = add_subjects(begun)
      for position, record in ipairs(begun) do
        numbers[record.name] = first + position - 1
      end
    end
    for _, group in ipairs(changes) do
      count = count + #group.new
    end
    local slots = take_slots(count)
    for _, group in ipairs(changes) do
      local n = numbers[group.name]
      local record, taken, fresh, number = records[n] or group.record or subject(n), {}, {}, digits(sequence)
      records[n] = record
      for position, place in ipairs(group.new) do
        local slot = slots[#templates + 1]
        taken[position], fresh[position], since[ids[place]] = digits(slot), ids[place], number
        templates[#templates + 1] = {n, slot, ids[place], details[place], qualities[place], sequence, place}
        table.insert(record.templates, ids[place])
      end
      table.insert(record.changes, sequence)
      payloads[#payloads + 1] = number
      payloads[#payloads + 1] = '{"n":' .. digits(n) .. ',"id":' .. quoted(record.id) .. ',"name":' .. quoted(group.name) ..
        ',"templates":' .. (fresh[1] and quoted_list(fresh) or '{}') .. (group.record and ',"created":true}' or '}')
      write_log('enrol', n, now_ms, number, taken)
      last, sequence = number, sequence + 1
    end
    redis.call('HSET', g .. ':payloads', unpack(payloads))
    put_templates(templates, vectors, bytes)
    keep_all(records, tonumber(meta[4]))
  end
  local answer = {}
  for place, id in ipairs(ids) do
    answer[place] = tostring(since[id])
  end
  return {'ok', table.concat(answer, ' '), last}
end
