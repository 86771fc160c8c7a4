-- Who is told outward, and how far (kith.webhooks, kith.outward.places).
--
-- Time is the server's. A call may be run twice, when its answer was lost and the client asks again: a step that is
-- written already is done.
--
-- Key schema (P is the prefix, W a webhook)
--   P:outward:leader     string  who delivers, expires with the lease
--   P:outward:places     hash    name -> how far a reader of the streams has come (JSON)
--   P:webhooks           hash    id -> webhook (JSON)
--   P:webhooks:progress  hash    id -> how far it was told (JSON)
--   P:webhooks:dead:W    hash    delivery -> dead letter (JSON)
--   P:webhooks:died:W    zset    delivery by when it died

local P, op = ARGV[1], ARGV[2]
local leader, places = P .. ':outward:leader', P .. ':outward:places'
local hooks, progress = P .. ':webhooks', P .. ':webhooks:progress'

local function swap(key, field, seen, text)
  local found = redis.call('HGET', key, field)
  if found == text then return 'done' end
  -- HGET says false where there is nothing.
  if (found or '') ~= seen then return 'changed' end
  redis.call('HSET', key, field, text)
  return 'done'
end

if op == 'lead' then
  -- holder, lease_ms
  local holder = redis.call('GET', leader)
  if holder and holder ~= ARGV[3] then return 0 end
  redis.call('SET', leader, ARGV[3], 'PX', ARGV[4])
  return 1
end

if op == 'leave' then
  -- holder
  if redis.call('GET', leader) == ARGV[3] then redis.call('DEL', leader) end
  return 1
end

if op == 'place' then
  -- holder, name, seen or '', text
  if redis.call('GET', leader) ~= ARGV[3] then return 'lost' end
  return swap(places, ARGV[4], ARGV[5], ARGV[6])
end

if op == 'add' then
  -- id, webhook, progress, most
  if redis.call('HEXISTS', hooks, ARGV[3]) == 1 then return 1 end
  if redis.call('HLEN', hooks) >= tonumber(ARGV[6]) then return 0 end
  redis.call('HSET', hooks, ARGV[3], ARGV[4])
  redis.call('HSET', progress, ARGV[3], ARGV[5])
  return 1
end

if op == 'change' then
  -- id, seen, webhook
  return swap(hooks, ARGV[3], ARGV[4], ARGV[5])
end

if op == 'replay' then
  -- id, seen, progress
  return swap(progress, ARGV[3], ARGV[4], ARGV[5])
end

if op == 'remove' then
  -- id
  redis.call('HDEL', progress, ARGV[3])
  redis.call('DEL', hooks .. ':dead:' .. ARGV[3], hooks .. ':died:' .. ARGV[3])
  return redis.call('HDEL', hooks, ARGV[3])
end

if op == 'note' then
  -- holder, id, step it follows, progress, revived delivery or '', dead delivery or '', dead letter, when it died, most
  if redis.call('GET', leader) ~= ARGV[3] then return 'lost' end
  local dead, died = hooks .. ':dead:' .. ARGV[4], hooks .. ':died:' .. ARGV[4]
  local found = redis.call('HGET', progress, ARGV[4])
  if found ~= ARGV[6] then
    -- By its number, not by its text: another version may have written more in it.
    if not found or cjson.decode(found)['step'] ~= tonumber(ARGV[5]) then return 'changed' end
    redis.call('HSET', progress, ARGV[4], ARGV[6])
  end
  if ARGV[7] ~= '' then
    redis.call('HDEL', dead, ARGV[7])
    redis.call('ZREM', died, ARGV[7])
  end
  if ARGV[8] ~= '' then
    redis.call('HSET', dead, ARGV[8], ARGV[9])
    redis.call('ZADD', died, ARGV[10], ARGV[8])
    local beyond = redis.call('ZCARD', died) - tonumber(ARGV[11])
    if beyond > 0 then
      for _, oldest in ipairs(redis.call('ZRANGE', died, 0, beyond - 1)) do redis.call('HDEL', dead, oldest) end
      redis.call('ZREMRANGEBYRANK', died, 0, beyond - 1)
    end
  end
  return 'done'
end

return redis.error_reply('unknown outward operation ' .. tostring(op))
