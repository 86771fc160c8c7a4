--[[ Cutting the log off. What is cut off can be undone no more; nothing of it is left, and no template is lost. ]]

-- At most `limit` entries a call, so that nobody waits long for it. The newest entry always stays: a reader who is behind
-- is then always woken by it, and sees by its number that he missed something.
function operations.trim(before_ms, limit)
  local newest = redis.call('HGET', g .. ':meta', 'sequence')
  if not newest then
    return {'unknown_gallery'}
  end
  local cut, ended, removed = {}, {}, {}
  for _, entry in ipairs(redis.call('XRANGE', g .. ':log', '-', '+', 'COUNT', limit)) do
    local sequence = string.match(entry[1], '^%d+')
    if sequence == newest or tonumber(entry[2][6]) >= tonumber(before_ms) then
      break
    end
    table.insert(cut, sequence)
    if entry[2][2] == 'remove' then
      local payload = payload_of(sequence)
      table.insert(removed, payload and payload.templates)
    end
    for position = 7, #entry[2], 2 do
      local n = entry[2][position] == 'gone' and entry[2][position + 1]
      if n and redis.call('HGET', g .. ':ended', n) == sequence then
        table.insert(ended, n)
      end
    end
  end
  if #cut > 0 then
    redis.call('XTRIM', g .. ':log', 'MINID', string.format('%.0f-0', tonumber(cut[#cut]) + 1))
    redis.call('HDEL', g .. ':payloads', unpack(cut))
    for _, templates in ipairs(removed) do
      count_removed(templates, -1)
    end
    redis.call('HSET', g .. ':meta', 'trimmed', cut[#cut])
    if #ended > 0 then
      redis.call('HDEL', g .. ':ended', unpack(ended))
    end
  end
  return {'ok', #cut}
end
