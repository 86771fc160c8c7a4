-- What a watcher has come to (kith.watching.store): its state, how far it has read, and the events, in one step.
-- Preceded by sightings_tell.lua, which has `P` and `tell`.
--
-- When memory is full the server refuses a script whose first write could enlarge it: so each begins by taking something
-- away. What waits is bounded, and whoever is forgotten makes room.
--
-- Time is the server's (TIME). A call may be run twice, when its answer was lost and the client asks again: a step knows
-- its number, and one that is written already is done.
--
-- Key schema (P is the prefix, G a gallery)
--   P:watch:leader     string  who leads, expires with the lease
--   P:watch:G          hash    step, position (news taken last), and the records of the state: r:KEY -> JSON
--   P:watch:G:vectors  hash    KEY -> EPOCH:DIMENSION:rows; float32 little endian, or sealed as the gallery's templates are
--   P:watch:G:litter   hash    picture that is nobody's any more -> from when its age counts, until upkeep has deleted it
--   P:events           stream  one entry per event: gallery; trimmed by age and number
--   P:events:told      hash    entry id -> the event (JSON), until it is erased

local op = ARGV[2]
local leader, events, told = P .. ':watch:leader', P .. ':events', P .. ':events:told'

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function place(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  return ms .. '-' .. string.format('%.0f', number + 1)
end

-- Drops events past their age or number, the oldest `limit` at most; how many.
local function trim(keep_ms, keep_entries, limit)
  local beyond, cut = redis.call('XLEN', events) - keep_entries, {}
  for position, entry in ipairs(redis.call('XRANGE', events, '-', '+', 'COUNT', limit)) do
    if position > beyond and tonumber(string.match(entry[1], '^%d+')) >= now - keep_ms then break end
    cut[position] = entry[1]
  end
  if #cut > 0 then
    redis.call('HDEL', told, unpack(cut))
    redis.call('XTRIM', events, 'MINID', '=', place(cut[#cut]))
  end
  return #cut
end

if op == 'tell' then
  -- gallery, most, news...
  return tell(ARGV[3], {unpack(ARGV, 5)}, tonumber(ARGV[4]))
end

if op == 'lead' then
  -- holder, lease_ms
  local holder = redis.call('GET', leader)
  if holder and holder ~= ARGV[3] then return 0 end
  redis.call('DEL', leader)
  redis.call('SET', leader, ARGV[3], 'PX', ARGV[4])
  return now
end

if op == 'leave' then
  -- holder
  if redis.call('GET', leader) == ARGV[3] then redis.call('DEL', leader) end
  return 1
end

if op == 'commit' then
  -- holder, gallery, step, position, deadline or '', keep_ms, keep_entries, then five lists, each led by its length:
  -- taken ids, events, records (key, JSON or ''), vectors (key, rows or ''), litter (picture, ms)
  local watch = P .. ':watch:' .. ARGV[4]
  if redis.call('GET', leader) ~= ARGV[3] then return 'lost' end
  local step, at = tonumber(ARGV[5]), tonumber(redis.call('HGET', watch, 'step') or 0)
  if at == step then return 'done' end
  if at ~= step - 1 then return 'lost' end
  if ARGV[7] ~= '' and now > tonumber(ARGV[7]) then return 'late' end
  local start = 10
  local function list(width)
    local found, count = {}, tonumber(ARGV[start])
    for i = start + 1, start + count * width do found[#found + 1] = ARGV[i] end
    start = start + 1 + count * width
    return found
  end
  local taken, fresh, records, vectors, litter = list(1), list(1), list(2), list(2), list(2)
  redis.call('HDEL', watch, 'r:')
  local stream = P .. ':sightings:' .. ARGV[4]
  for _, id in ipairs(taken) do redis.call('HDEL', stream .. ':told', id) end
  if #taken > 0 then redis.call('XTRIM', stream, 'MINID', '=', place(ARGV[6])) end
  trim(tonumber(ARGV[8]), tonumber(ARGV[9]), 2 * #fresh + 10)
  for i = 1, #records, 2 do redis.call('HDEL', watch, 'r:' .. records[i]) end
  for i = 1, #vectors, 2 do redis.call('HDEL', watch .. ':vectors', vectors[i]) end
  for i = 1, #records, 2 do
    if records[i + 1] ~= '' then redis.call('HSET', watch, 'r:' .. records[i], records[i + 1]) end
  end
  for i = 1, #vectors, 2 do
    if vectors[i + 1] ~= '' then redis.call('HSET', watch .. ':vectors', vectors[i], vectors[i + 1]) end
  end
  for i = 1, #litter, 2 do redis.call('HSET', watch .. ':litter', litter[i], litter[i + 1]) end
  for _, event in ipairs(fresh) do
    local entry = redis.call('XADD', events, '*', 'gallery', ARGV[4])
    redis.call('HSET', told, entry, event)
  end
  redis.call('HSET', watch, 'step', step, 'position', ARGV[6])
  return 'done'
end

if op == 'drop' then
  -- gallery, id...: news that are too old
  local stream = P .. ':sightings:' .. ARGV[3]
  for i = 4, #ARGV do
    redis.call('HDEL', stream .. ':told', ARGV[i])
    redis.call('XDEL', stream, ARGV[i])
  end
  return #ARGV - 3
end

if op == 'wipe' then
  -- gallery
  local watch, stream = P .. ':watch:' .. ARGV[3], P .. ':sightings:' .. ARGV[3]
  redis.call('SREM', P .. ':sightings', ARGV[3])
  return redis.call('UNLINK', watch, watch .. ':vectors', watch .. ':litter', stream, stream .. ':told')
end

if op == 'trim' then
  -- keep_ms, keep_entries, limit
  return trim(tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
end

if op == 'amend' then
  -- entry, text as seen, text to be ('' to erase)
  if redis.call('HGET', told, ARGV[3]) ~= ARGV[4] then return 0 end
  redis.call('HDEL', told, ARGV[3])
  if ARGV[5] ~= '' then redis.call('HSET', told, ARGV[3], ARGV[5]) end
  return 1
end

return redis.error_reply('unknown watching operation ' .. tostring(op))
