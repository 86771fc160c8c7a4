--[[ Moving a gallery to another model. The vectors of the other model are kept beside the gallery's own, slot by slot, with
  the enrolment each is of (gallery.lua: g:c, g:w). Nobody searches them until the two sets change places, which is one
  change of the gallery; going back is the same change again.
]]

-- settings: none yet in force with the other model.
function operations.migrate_begin(model_id, dimension, bytes, pack, now_ms)
  local meta = redis.call('HMGET', g .. ':meta', 'model_id', 'vectors')
  if not meta[1] then
    return {'unknown_gallery'}
  end
  if meta[1] == model_id then
    return {'same_model', model_id}
  end
  local other = redis.call('HGET', g .. ':migration', 'model_id')
  if other then
    return other == model_id and {'ok'} or {'other_migration', other}
  end
  redis.call('HSET', g .. ':migration', 'model_id', model_id, 'dimension', dimension, 'width', bytes, 'pack', pack,
    'set', meta[2] == 'c' and 'b' or 'c', 'started_ms', now_ms, 'have', 0, 'switched', 0, 'puts', 0)
  return {'ok'}
end

-- ARGV from 4 on: so many times template_id, vector; then template_id, why there is none. Templates that are no more are
-- passed over, as is everything when the migration is another by now.
function operations.migrate_put(model_id, count)
  local other = redis.call('HMGET', g .. ':migration', 'model_id', 'width', 'set')
  if other[1] ~= model_id then
    return {'ok', 0}
  end
  local bytes, set, fresh, last = tonumber(other[2]), ':' .. other[3] .. ':', 0, 3 + 2 * tonumber(count)
  local old = redis.call('HGET', g .. ':meta', 'old_keys')
  for position = 4, last, 2 do
    if #ARGV[position + 1] ~= bytes then
      return {'model_mismatch'}
    end
    if by_old_key(ARGV[position + 1], bytes, old) then
      return {'stale_key'}
    end
  end
  redis.call('HINCRBY', g .. ':migration', 'puts', 1)
  for position = 4, #ARGV, 2 do
    local known = template(ARGV[position])
    -- The id stands for the picture as well, so the vector is right for whatever enrolment has the id now.
    if known and other_since(known[2]) ~= known[6] then
      if position <= last then
        write_rows(set, known[2], bytes, ARGV[position + 1])
        write_rows(':w:', known[2], 8, struct.pack('<d', known[6]))
        redis.call('HDEL', g .. ':unable', ARGV[position])
        fresh = fresh + 1
      else
        redis.call('HSET', g .. ':unable', ARGV[position], ARGV[position + 1])
      end
    end
  end
  if fresh > 0 then
    redis.call('HINCRBY', g .. ':migration', 'have', fresh)
  end
  return {'ok', fresh}
end

local function drop_unable(now_ms)
  local of = {}
  for _, id in ipairs(redis.call('HKEYS', g .. ':unable')) do
    local n = template(id)[1]
    of[n] = of[n] or {}
    table.insert(of[n], id)
  end
  for n, ids in pairs(of) do
    remove(n, subject(n), ids, now_ms)
  end
end

-- The other set becomes the gallery's own. before: the settings the caller decided on `after` by. drop: '1' removes the
-- templates that cannot have a vector, else the gallery is not switched while there are any.
function operations.migrate_switch(model_id, before, after, drop, now_ms)
  local meta = redis.call('HMGET', g .. ':meta', 'model_id', 'dimension', 'width', 'vectors', 'settings')
  local other = redis.call('HMGET', g .. ':migration', 'model_id', 'dimension', 'width', 'set', 'have')
  if not meta[1] then
    return {'unknown_gallery'}
  end
  if other[1] ~= model_id then
    return {'no_migration', model_id}
  end
  local unable = redis.call('HLEN', g .. ':unable')
  local lacking = redis.call('HLEN', g .. ':templates') - tonumber(other[5])
  if lacking > unable or (unable > 0 and drop ~= '1') then
    return {'lacking', lacking .. ' ' .. unable}
  end
  if meta[5] ~= before then
    return {'settings_changed'}
  end
  if unable > 0 then
    drop_unable(now_ms)
  end
  local sequence = next_sequence()
  redis.call('HSET', g .. ':meta', 'model_id', model_id, 'dimension', other[2], 'width', other[3], 'vectors', other[4],
    'settings', after, 'model_since', sequence)
  redis.call('HSET', g .. ':migration', 'model_id', meta[1], 'dimension', meta[2], 'width', meta[3],
    'set', meta[4] or 'b', 'settings', before, 'switched', sequence)
  -- The settings as well: a cutoff is of its model, so the past has another one.
  return log('model', 0, now_ms, sequence, {},
    {n = 0, before = meta[1], after = model_id, settings_before = before, settings = after})
end

function operations.migrate_end()
  local set = redis.call('HGET', g .. ':migration', 'set')
  if not set then
    return {'no_migration', ''}
  end
  changed = true
  redis.call('DEL', g .. ':migration', g .. ':unable')
  for block = 0, math.ceil(redis.call('HGET', g .. ':meta', 'next_slot') / BLOCK_ROWS) - 1 do
    redis.call('UNLINK', g .. ':' .. set .. ':' .. block, g .. ':w:' .. block)
  end
  return {'ok'}
end

-- The templates of these subjects that have no vector in the other set and are not known to be unable: id, slot, image each.
-- ARGV from 2 on: numbers.
function operations.migrate_missing()
  local answer = {'ok'}
  for _, text in ipairs(redis.call('HMGET', g .. ':subjects', unpack(rest(2)))) do
    for _, id in ipairs(text and whole(text).templates or {}) do
      local known = template(id)
      if other_since(known[2]) ~= known[6] and redis.call('HEXISTS', g .. ':unable', id) == 0 then
        table.insert(answer, {id, known[2], known[3]})
      end
    end
  end
  return answer
end
