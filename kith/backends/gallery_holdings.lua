--[[ All that is held of one subject, in one moment: what a forget is about to erase. ]]

-- What a change tells of the subject. It may tell of another as well, who was merged into it: he is part of it, unless the
-- merge was undone and he is somebody again.
local function told_of(sequence)
  local text = redis.call('HGET', g .. ':payloads', sequence) or ''
  local entry = redis.call('XRANGE', g .. ':log', sequence .. '-0', sequence .. '-0')[1]
  for position = 1, entry and #entry[2] or 0, 2 do
    if entry[2][position] == 'gone' and redis.call('HEXISTS', g .. ':subjects', entry[2][position + 1]) == 1 then
      local payload = payload_of(sequence)
      if payload and payload.before then
        payload.before = nil
        return cjson.encode(payload)
      end
    end
  end
  return text
end

-- Number, record, bytes of a row, of each template [id, details, rows of its own model and of the other one], of each change
-- that tells of the subject [payload].
function operations.holdings(name)
  local n = redis.call('HGET', g .. ':names', name)
  if not n then
    return missing()
  end
  local text, set, other = redis.call('HGET', g .. ':subjects', n), own(), redis.call('HMGET', g .. ':migration', 'set', 'width')
  local record, templates, payloads = whole(text), {}, {}
  for _, id in ipairs(record.templates) do
    local details = redis.call('HGET', g .. ':templates', id)
    local slot = cjson.decode(details)[2]
    local beside = other[1] and read_row(':' .. other[1] .. ':', slot, tonumber(other[2])) or ''
    table.insert(templates, {id, details, read_row(set, slot, width()), beside})
  end
  for _, sequence in ipairs(record.changes) do
    if sequence > 0 then
      table.insert(payloads, told_of(sequence))
    end
  end
  return {'ok', n, text, tostring(width()), templates, payloads}
end
