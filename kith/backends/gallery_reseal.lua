--[[ Sealing anew what an older key sealed. What has changed since it was read is left alone: whoever changed it has sealed it by
  the newest key.
]]

-- From now on nothing is written that is not sealed by this key: a writer who has yet to read the new key is told so.
function operations.reseal_by(key)
  if redis.call('EXISTS', g .. ':meta') == 0 then
    return {'unknown_gallery'}
  end
  redis.call('HSET', g .. ':meta', 'key', key)
  return {'ok'}
end

-- set: b or c, see gallery.lua. ARGV from 4 on, so many times: slot, row as it was read, row to stand there.
function operations.reseal_rows(set, bytes)
  for position = 4, #ARGV, 3 do
    if read_row(':' .. set .. ':', ARGV[position], tonumber(bytes)) == ARGV[position + 1] then
      write_rows(':' .. set .. ':', ARGV[position], tonumber(bytes), ARGV[position + 2])
    end
  end
  return {'ok'}
end

-- ARGV from 2 on, so many times: sequence, payload as it was read, payload to stand there.
function operations.reseal_payloads()
  for position = 2, #ARGV, 3 do
    if redis.call('HGET', g .. ':payloads', ARGV[position]) == ARGV[position + 1] then
      redis.call('HSET', g .. ':payloads', ARGV[position], ARGV[position + 2])
    end
  end
  return {'ok'}
end
