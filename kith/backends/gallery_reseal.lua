--[[ Sealing anew what an older key sealed. What has changed since it was read is left alone: whoever changed it has sealed it by
  the newest key.
]]

-- From now on nothing is written that one of these keys sealed: a writer who has yet to read the newest is told so. newest:
-- of who seals anew, refused where somebody else has made it an old one already. ARGV from 3 on: the others.
function operations.reseal_by(newest)
  if redis.call('EXISTS', g .. ':meta') == 0 then
    return {'unknown_gallery'}
  end
  local old = redis.call('HGET', g .. ':meta', 'old_keys') or ''
  if by_old_key(newest, KEY_BYTES, old) then
    return {'stale_key'}
  end
  for _, key in ipairs(rest(3)) do
    if not by_old_key(key, KEY_BYTES, old) then
      old = old .. key
    end
  end
  redis.call('HSET', g .. ':meta', 'old_keys', old)
  return {'ok'}
end

-- set: b or c, see gallery.lua. ARGV from 4 on, so many times: slot, row as it was read, row to stand there.
function operations.reseal_rows(set, bytes)
  local old = redis.call('HGET', g .. ':meta', 'old_keys')
  for position = 6, #ARGV, 3 do
    -- Somebody else has rotated again and seals anew by a newer key, perhaps past these rows already.
    if by_old_key(ARGV[position], tonumber(bytes), old) then
      return {'stale_key'}
    end
  end
  for position = 4, #ARGV, 3 do
    if read_row(':' .. set .. ':', ARGV[position], tonumber(bytes)) == ARGV[position + 1] then
      write_rows(':' .. set .. ':', ARGV[position], tonumber(bytes), ARGV[position + 2])
    end
  end
  return {'ok'}
end

-- Of one change: its payload as it was read, and the header and the rows to stand there. 1 when they do; 0 when it is another
-- by now: taking somebody out of a payload leaves its other rows as they were sealed.
function operations.reseal_payload(sequence, bytes, before, header, rows)
  if by_old_key(rows, tonumber(bytes), redis.call('HGET', g .. ':meta', 'old_keys')) then
    return {'stale_key'}
  end
  if redis.call('HGET', g .. ':payloads', sequence) ~= before then
    return {'ok', 0}
  end
  redis.call('HSET', g .. ':payloads', sequence, header .. '\n' .. rows)
  return {'ok', 1}
end
