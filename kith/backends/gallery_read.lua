--[[ What has to be read at one moment: between two reads a subject could be forgotten and its slots be somebody else's. ]]

-- Templates handed out by one call of `changes`, two megabytes of 512 numbers each: past it the reader asks again.
local MOST_TEMPLATES = 1024

function operations.show(name)
  local n = redis.call('HGET', g .. ':names', name)
  if not n then
    return missing()
  end
  local text = redis.call('HGET', g .. ':subjects', n)
  local answer = {'ok', text}
  for _, id in ipairs(whole(text).templates) do
    table.insert(answer, id)
    table.insert(answer, redis.call('HGET', g .. ':templates', id))
  end
  return answer
end

function operations.external(external_id)
  local n = redis.call('HGET', g .. ':external', external_id)
  if not n then
    return missing()
  end
  return {'ok', subject(n).name}
end

-- For each change after `after`: number, fields, payload (of changes that give a name or settings; '' when it is erased),
-- and for each slot of an enrolment or a move its owner row and vector, '' when the template is no more.
-- A template is the one of the change if it was put there by the change (enrol), or before it (move): a slot used again
-- since has a later number. What was before the last change of model is not told: rows are of the model of now.
function operations.changes(after, limit)
  local meta = redis.call('HMGET', g .. ':meta', 'trimmed', 'width', 'dimension', 'model_since', 'epoch', 'sealed')
  if not meta[1] then
    return {'unknown_gallery'}
  end
  local bytes, templates = tonumber(meta[2]), 0
  local reaches, set = math.max(tonumber(meta[1]), tonumber(meta[4] or 0)), own()
  local answer = {'ok', tostring(reaches), meta[3], meta[5], meta[6] or '0'}
  if reaches > tonumber(after) then
    return answer
  end
  for _, entry in ipairs(redis.call('XRANGE', g .. ':log', '(' .. after .. '-0', '+', 'COUNT', limit)) do
    local number, fields = tonumber(string.match(entry[1], '^%d+')), entry[2]
    local op, rows = fields[2], {}
    local payload = redis.call('HGET', g .. ':payloads', number) or ''
    if op == 'remove' then
      payload = payload ~= '' and '{}' or ''
    elseif (op == 'enrol' or op == 'move') and fields[7] == 'slots' then
      for slot in string.gmatch(fields[8], '%d+') do
        local owner = read_row(':o:', slot, OWNER_BYTES)
        local _, _, since = struct.unpack(OWNER, owner)
        local there = op == 'enrol' and since == number or op == 'move' and since > 0 and since <= number
        table.insert(rows, there and owner or '')
        table.insert(rows, there and read_row(set, slot, bytes) or '')
        templates = templates + 1
      end
    end
    table.insert(answer, {tostring(number), fields, payload, rows})
    if templates >= MOST_TEMPLATES then
      break
    end
  end
  return answer
end

-- The newest changes first, below number `before`: number, fields, payload without vectors.
function operations.history(before, limit)
  if redis.call('EXISTS', g .. ':meta') == 0 then
    return {'unknown_gallery'}
  end
  local answer = {'ok'}
  for _, entry in ipairs(redis.call('XREVRANGE', g .. ':log', before, '-', 'COUNT', limit)) do
    local text = redis.call('HGET', g .. ':payloads', string.match(entry[1], '^%d+')) or ''
    table.insert(answer, {string.match(entry[1], '^%d+'), entry[2], string.match(text, '^[^\n]*')})
  end
  return answer
end

-- Fields of the log that say whom a change touched.
local WHO = {n = true, from = true, gone = true, holders = true}

-- Whoever the changes after `after` touched, as he is now: number, record ('' when he is no more), and for each template its
-- id, details and, where asked for, row. First: epoch, the number they reach to ('' when the log no longer reaches back),
-- the newest number and the settings.
function operations.touched(after, limit, vectors)
  local meta = redis.call('HMGET', g .. ':meta', 'epoch', 'sequence', 'settings', 'trimmed', 'model_since', 'width')
  if not meta[1] then
    return {'unknown_gallery'}
  end
  if math.max(tonumber(meta[4]), tonumber(meta[5] or 0)) > tonumber(after) then
    return {'ok', meta[1], '', meta[2], meta[3]}
  end
  local answer, seen, templates = {'ok', meta[1], after, meta[2], meta[3]}, {}, 0
  local set, bytes = own(), tonumber(meta[6])
  for _, entry in ipairs(redis.call('XRANGE', g .. ':log', '(' .. after .. '-0', '+', 'COUNT', limit)) do
    if templates >= MOST_TEMPLATES then
      break
    end
    answer[3] = string.match(entry[1], '^%d+')
    for position = 1, #entry[2], 2 do
      for n in string.gmatch(WHO[entry[2][position]] and entry[2][position + 1] or '', '%d+') do
        if not seen[n] then
          seen[n] = true
          local text = redis.call('HGET', g .. ':subjects', n)
          local parts = {n, text or ''}
          for _, id in ipairs(text and whole(text).templates or {}) do
            local details = redis.call('HGET', g .. ':templates', id)
            table.insert(parts, id)
            table.insert(parts, details)
            table.insert(parts, vectors == '1' and read_row(set, cjson.decode(details)[2], bytes) or '')
            templates = templates + 1
          end
          table.insert(answer, parts)
        end
      end
    end
  end
  return answer
end
