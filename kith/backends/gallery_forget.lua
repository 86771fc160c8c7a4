--[[ Forgetting: whoever has a name, and whoever ended under it (an enrolment that was undone, a merge), as long as the journal
  tells of them. Nothing is left of their vectors, names and ids; what else a change tells of others stays.
]]

-- Who is called `name`, and who ended so: {n, record, ending (nil where he lives), payload}. ids: of the subjects that are
-- meant, none for all.
local function meant(name, ids)
  local found, only, n = {}, set_of(ids), number_of(name)
  if n then
    found[1] = {n = n, record = subject(n)}
  end
  local ended = redis.call('HGETALL', g .. ':ended')
  for position = 1, #ended, 2 do
    local payload = payload_of(ended[position + 1])
    local record = payload and payload.before and whole(payload.before)
    if record and record.name == name then
      table.insert(found,
        {n = tonumber(ended[position]), record = record, ending = tonumber(ended[position + 1]), payload = payload})
    end
  end
  local wanted = {}
  for _, each in ipairs(found) do
    if #ids == 0 or only[each.record.id] then
      table.insert(wanted, each)
    end
  end
  return wanted
end

-- Of a template that somebody had when he ended: whether it is his still, enrolled as his or as one's who had become a part
-- of him and has not been forgotten (whose it was before the journal begins counts as his); and whether it is that one at
-- all, and not what a later enrolment has put under the same id.
local function stays_his(told, ending, his, trimmed)
  local given, enrolled, before = false, false, false
  for _, sequence in ipairs(told) do
    given = given or sequence == ending
    if trimmed < sequence and sequence < ending then
      before = true
      enrolled = enrolled or (his[sequence] and entry_of(sequence).op == 'enrol' and payload_of(sequence) ~= nil)
    end
  end
  return given and (enrolled or not before), given
end

-- Calls seen(sequence, templates, vectors) for each removal after change `after` that tells anything still.
local function each_removal(after, seen)
  while true do
    local entries = redis.call('XRANGE', g .. ':log', '(' .. after .. '-0', '+', 'COUNT', 1000)
    if #entries == 0 then
      return
    end
    for _, entry in ipairs(entries) do
      after = string.match(entry[1], '^%d+')
      if entry[2][2] == 'remove' then
        local payload, vectors = payload_of(after)
        if payload then
          seen(tonumber(after), payload.templates, vectors)
        end
      end
    end
  end
end

-- His templates that others took out since he ended: {sequence of the removal, details, row} each.
local function taken_out(each, wanted, trimmed)
  local found = {}
  each_removal(each.ending, function(sequence, templates, vectors)
    for position, details in ipairs(templates) do
      local bytes = #vectors / #templates
      if wanted[details[1]] and stays_his(details[5], each.ending, each.his, trimmed) then
        table.insert(found, {sequence, details, string.sub(vectors, (position - 1) * bytes + 1, position * bytes)})
      end
    end
  end)
  return found
end

-- All that is his, noted on `each`. his, others: changes that tell of him, alone or beside another whose they are.
-- templates: {id, as it is stored} that are there; removed: see taken_out.
local function look_up(each)
  local record, trimmed, gone = each.record, tonumber(redis.call('HGET', g .. ':meta', 'trimmed')), {}
  each.his, each.others, each.templates, each.removed = {}, {}, {}, {}
  for _, sequence in ipairs(record.changes) do
    each[sequence > 0 and 'his' or 'others'][math.abs(sequence)] = true
  end
  if each.ending then
    each[each.payload.n == each.n and 'his' or 'others'][each.ending] = true
  end
  for _, id in ipairs(record.templates) do
    local known, his, given = template(id), not each.ending, not each.ending
    if known and each.ending then
      his, given = stays_his(tellers(known), each.ending, each.his, trimmed)
    end
    if his then
      table.insert(each.templates, {id, known})
    end
    gone[id] = not given or nil
  end
  if next(gone) then
    each.removed = taken_out(each, gone, trimmed)
  end
  return each
end

-- Notes on `names`, by sequence, that change `told` names the template.
local function named(names, told, id)
  for _, sequence in ipairs(told) do
    names[sequence] = names[sequence] or {}
    names[sequence][id] = true
  end
end

-- Of templates that changes which ended somebody are about to be cleared of, those that lie in a removal which is not: id ->
-- set of all changes that named it. names: what is cleared of what, by sequence.
local function lying(names)
  local wanted, first, found = {}, nil, {}
  for sequence, ids in pairs(names) do
    local payload = payload_of(sequence)
    if payload and payload.before then
      first = math.min(first or sequence, sequence)
      for id in pairs(ids) do
        wanted[id] = true
      end
    end
  end
  if first then
    each_removal(first, function(sequence, templates)
      for _, details in ipairs(templates) do
        local id = details[1]
        if wanted[id] and not (names[sequence] and names[sequence][id]) then
          found[id] = found[id] or {}
          for _, teller in ipairs(details[5]) do
            found[id][teller] = true
          end
        end
      end
    end)
  end
  return found
end

-- Takes templates out of what a change tells; it cannot be undone any more. removed: see `lying`.
local function strip(sequence, ids, removed)
  local payload, vectors = payload_of(sequence)
  if not payload then
    return
  end
  count_removed(payload.templates, -1)
  local left, rows, bytes = {}, {}, vectors and #vectors / #payload.templates
  for position, each in ipairs(payload.templates) do
    if not ids[type(each) == 'table' and each[1] or each] then
      table.insert(left, each)
      table.insert(rows, vectors and string.sub(vectors, (position - 1) * bytes + 1, position * bytes))
    end
  end
  count_removed(left, 1)
  payload.templates, payload.stripped = left, true
  if payload.before then
    local before, gone = whole(payload.before), {}
    for id in pairs(ids) do
      -- One that was taken out and brought back lives on, or lies where another took it out since: whoever ended with it is
      -- found by it when he is forgotten.
      local known = template(id)
      local lives = known and set_of(tellers(known))[sequence]
      gone[id] = not (lives or removed[id] and removed[id][sequence]) or nil
    end
    before.templates = without(before.templates, gone)
    payload.before = packed(before)
  end
  redis.call('HSET', g .. ':payloads', sequence, cjson.encode(payload) .. (vectors and '\n' .. table.concat(rows) or ''))
end

-- Takes out of another's change how a subject was that ended with it.
local function leave_out(sequence)
  local payload = payload_of(sequence)
  if payload then
    payload.before, payload.stripped = nil, true
    redis.call('HSET', g .. ':payloads', sequence, cjson.encode(payload))
  end
end

-- Frees his templates, whoever has them now; notes the slots, the pictures, and who that is.
local function take_templates(each, bytes, slots, images, had)
  local holders = {}
  for _, pair in ipairs(each.templates) do
    local id, known = unpack(pair)
    -- Two of the same name may have had the same template, one after the other.
    if redis.call('HEXISTS', g .. ':templates', id) == 1 then
      free_template(id, known, bytes)
      table.insert(slots, known[2])
      table.insert(images, known[3])
      if known[1] ~= each.n then
        holders[known[1]] = holders[known[1]] or {}
        holders[known[1]][id] = true
      end
    end
  end
  for n, ids in pairs(holders) do
    local record = subject(n)
    record.templates = without(record.templates, ids)
    keep(n, record)
    table.insert(had, n)
  end
end

-- ARGV from 4 on: see `meant`. The answer: sequence, id of him who lives, else of one who ended; how many templates and
-- changes are erased; pictures.
function operations.forget(name, now_ms)
  local people = meant(name, rest(4))
  if #people == 0 then
    return missing()
  end
  -- First a delete: from here on nothing is refused, however full the memory is. (There is no such field.)
  redis.call('HDEL', g .. ':ended', '')
  local names, slots, images, payloads, holders = {}, {}, {}, 0, {}
  for _, each in ipairs(people) do
    look_up(each)
    for _, pair in ipairs(each.templates) do
      named(names, tellers(pair[2]), pair[1])
    end
    for _, removal in ipairs(each.removed) do
      local sequence, details = unpack(removal)
      named(names, {sequence}, details[1])
      named(names, details[5], details[1])
      table.insert(images, details[2])
    end
    for sequence in pairs(each.his) do
      local payload, vectors = payload_of(sequence)
      for _, details in ipairs(vectors and payload.templates or {}) do
        named(names, details[5], details[1])
      end
    end
  end
  local bytes = width()
  for _, each in ipairs(people) do
    for sequence in pairs(each.his) do
      local payload = payload_of(sequence)
      count_removed(payload and payload.templates, -1)
      payloads = payloads + redis.call('HDEL', g .. ':payloads', sequence)
    end
    for sequence in pairs(each.others) do
      leave_out(sequence)
    end
    take_templates(each, bytes, slots, images, holders)
    if each.ending then
      redis.call('HDEL', g .. ':ended', each.n)
    else
      drop_subject(each.n, each.record)
    end
  end
  local removed = lying(names)
  for sequence, ids in pairs(names) do
    strip(sequence, ids, removed)
  end
  local sequence, first = next_sequence(), people[1]
  log('forget', first.n, now_ms, sequence, slots, nil,
    {gone = first.n, holders = #holders > 0 and table.concat(holders, ' ') or nil})
  local answer = {'ok', tostring(sequence), first.record.id, #slots, payloads}
  for _, image in ipairs(images) do
    table.insert(answer, image)
  end
  return answer
end

-- The ids of the templates that `forget` would free, some maybe twice.
function operations.forgettable(name)
  local people = meant(name, {})
  if #people == 0 then
    return missing()
  end
  local answer = {'ok'}
  for _, each in ipairs(people) do
    for _, pair in ipairs(look_up(each).templates) do
      table.insert(answer, pair[1])
    end
  end
  return answer
end

-- The ids of those whom `forget` would mean.
function operations.ids(name)
  local people = meant(name, {})
  if #people == 0 then
    return missing()
  end
  local answer = {'ok'}
  for _, each in ipairs(people) do
    table.insert(answer, each.record.id)
  end
  return answer
end
