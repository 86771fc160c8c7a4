--[[ Judged searches in Redis, for calibration: the key schema, and every change of it.

  {prefix}:samples           set    names of the galleries that have samples
  with s = {prefix}:samples:{gallery}:
  s                          hash   decision_id -> SearchSample (JSON)
  s:order                    zset   decision_id -> when it was judged, Unix milliseconds

  KEYS: s, s:order, {prefix}:samples. ARGV: operation, gallery, then its own. Each may be run twice.
  `put` begins with a command that adds, so when memory is full it is refused whole; the others begin with a removal.
]]

local samples, order, galleries = KEYS[1], KEYS[2], KEYS[3]
local op, gallery = ARGV[1], ARGV[2]

-- Few enough for the stack of unpack.
local AT_ONCE = 1000

local function remove(ids)
  local gone = 0
  for start = 1, #ids, AT_ONCE do
    local some = {unpack(ids, start, math.min(start + AT_ONCE - 1, #ids))}
    redis.call('ZREM', order, unpack(some))
    gone = gone + redis.call('HDEL', samples, unpack(some))
  end
  if redis.call('EXISTS', samples) == 0 then
    redis.call('SREM', galleries, gallery)
  end
  return gone
end

if op == 'put' then
  -- decision id, judged at, JSON, how many are kept
  redis.call('HSET', samples, ARGV[3], ARGV[5])
  redis.call('ZADD', order, ARGV[4], ARGV[3])
  redis.call('SADD', galleries, gallery)
  local beyond = redis.call('ZCARD', order) - tonumber(ARGV[6])
  if beyond > 0 then
    remove(redis.call('ZRANGE', order, 0, beyond - 1))
  end
  return 1
end

if op == 'remove' then
  -- decision ids
  return remove({unpack(ARGV, 3)})
end

if op == 'trim' then
  -- judged before, at most
  return remove(redis.call('ZRANGE', order, '-inf', '(' .. ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[4]))
end

return redis.error_reply('samples.lua knows no operation ' .. op)
