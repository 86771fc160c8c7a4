--[[ All that is held of a person, in one moment: what a forget is about to erase. ]]

-- What a change tells of the subject. It may tell of another as well, who was merged into it: he is part of it, unless the
-- merge was undone and he is somebody again.
local function told_of(sequence)
  local text, entry = redis.call('HGET', g .. ':payloads', sequence) or '', entry_of(sequence) or {}
  if entry.gone and entry.gone ~= entry.n and redis.call('HEXISTS', g .. ':subjects', entry.gone) == 1 then
    local payload = payload_of(sequence)
    if payload and payload.before then
      payload.before = nil
      return cjson.encode(payload)
    end
  end
  return text
end

-- Of each of those whom `forget` would mean: number, record, of each template [id, details, rows of its own model and of the
-- other one], of each change that tells of him [payload].
function operations.holdings(name)
  local people = meant(name, {})
  if #people == 0 then
    return missing()
  end
  local bytes, set, other = width(), own(), redis.call('HMGET', g .. ':migration', 'set', 'width')
  local answer = {'ok'}
  for _, each in ipairs(people) do
    look_up(each)
    local templates, payloads = {}, {}
    for _, pair in ipairs(each.templates) do
      local id, slot = pair[1], pair[2][2]
      local beside = other[1] and read_row(':' .. other[1] .. ':', slot, tonumber(other[2])) or ''
      table.insert(templates, {id, redis.call('HGET', g .. ':templates', id), read_row(set, slot, bytes), beside})
    end
    for sequence in pairs(each.his) do
      table.insert(payloads, told_of(sequence))
    end
    for _, removal in ipairs(each.removed) do
      table.insert(payloads, cjson.encode({n = each.n, templates = {removal[2]}}) .. '\n' .. removal[3])
    end
    table.insert(answer, {tostring(each.n), packed(each.record), templates, payloads})
  end
  return answer
end
