--[[ All that is held of one subject, in one moment: what a forget is about to erase. ]]

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
      table.insert(payloads, redis.call('HGET', g .. ':payloads', sequence) or '')
    end
  end
  return {'ok', n, text, tostring(width()), templates, payloads}
end
