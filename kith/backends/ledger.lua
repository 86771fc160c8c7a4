-- The job ledger and the results stream: every step of a job's life is one call of this script, hence atomic.
-- One script with an operation word rather than twelve: a worker that reconnects to an emptied server reloads one hash.
--
-- Time is the server's (TIME): producers, workers and sweepers may disagree about the hour, the ledger has one clock.
--
-- Key schema (P is the prefix, times are Unix milliseconds)
--   P:job:ID        hash    payload, lane, stage, sent, started, worker, token, sends, starts, retries, reason,
--                           deadline and d:0..d:n-1 (decisions in JSON) once saved
--   P:due           zset    job id -> time at which the sweeper looks at it; its members are exactly the open jobs
--   P:done:ID       string  ids of the job's entries in P:results, kept for a while so that a repeat is recognised
--   P:results       stream  one entry per decision, field `decision` (JSON); trimmed by age
--   P:dead          hash    job id -> dead letter (JSON)          P:dead:order  zset  job id -> time of burial
--   P:started:LANE  string  time of sending of the newest job of a lane that was started
--   P:worker:ID     string  heartbeat (JSON), expires             P:workers     set   worker ids
--
-- All keys of one installation live on one primary; the script derives key names, so it does not fit Redis Cluster.

local P, op, id = ARGV[1], ARGV[2], ARGV[3]
local job, due, done = P .. ':job:' .. id, P .. ':due', P .. ':done:' .. id
local dead, order = P .. ':dead', P .. ':dead:order'

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function ended()
  return redis.call('EXISTS', done) == 1 or redis.call('HEXISTS', dead, id) == 1
end

if op == 'accept' then
  -- payload, lane, resend_after_ms, max_open
  if redis.call('EXISTS', job) == 1 then return 'open' end
  if redis.call('EXISTS', done) == 1 then return 'done' end
  if redis.call('HEXISTS', dead, id) == 1 then return 'dead' end
  if redis.call('ZCARD', due) >= tonumber(ARGV[7]) then return 'full' end
  redis.call('HSET', job, 'payload', ARGV[4], 'lane', ARGV[5], 'stage', 'sent', 'sent', now, 'sends', 1)
  redis.call('ZADD', due, now + ARGV[6], id)
  return 'new'
end

if op == 'start' then
  -- worker, look_again_ms, max_starts, token
  local was = redis.call('HMGET', job, 'stage', 'worker', 'lane', 'sent', 'token')
  if not was[1] then return ended() and 'finished' or 'absent' end
  if was[1] == 'saved' then return 'saved' end
  -- The same token is the same call: its answer was lost on the way and the client asks again.
  local again = was[5] == ARGV[7]
  if was[1] == 'started' and not again and redis.call('EXISTS', P .. ':worker:' .. was[2]) == 1 then return 'running' end
  if redis.call('HINCRBY', job, 'starts', 1) > tonumber(ARGV[6]) then return 'poisoned' end
  redis.call('HSET', job, 'stage', 'started', 'worker', ARGV[4], 'started', now, 'token', ARGV[7])
  redis.call('ZADD', due, now + ARGV[5], id)
  local mark = P .. ':started:' .. was[3]
  if tonumber(was[4]) > tonumber(redis.call('GET', mark) or 0) then redis.call('SET', mark, was[4]) end
  return 'go'
end

if op == 'save' then
  -- resend_after_ms, deadline or '', decision...
  local stage = redis.call('HGET', job, 'stage')
  if not stage then return 0 end
  -- Two workers may have done the same job; the first one's decisions stand, so that a reader of both sees one story.
  if stage ~= 'saved' then
    redis.call('HSET', job, 'stage', 'saved')
    redis.call('HSET', job, 'deadline', ARGV[5])
    for i = 6, #ARGV do redis.call('HSET', job, 'd:' .. (i - 6), ARGV[i]) end
    redis.call('ZADD', due, now + ARGV[4], id)
  end
  return 1
end

if op == 'publish' then
  -- keep_done_s, keep_results_ms, decision... (none: the saved ones, unless their deadline has passed)
  if redis.call('EXISTS', job) == 0 then return 0 end
  local records = {unpack(ARGV, 6)}
  if #records == 0 then
    local deadline = redis.call('HGET', job, 'deadline')
    if not deadline then return 0 end
    if deadline ~= '' and now > tonumber(deadline) then return -1 end
    -- Straight from the hash to the stream: a decision is parsed again only by who reads it.
    local record = redis.call('HGET', job, 'd:0')
    while record do
      records[#records + 1] = record
      record = redis.call('HGET', job, 'd:' .. #records)
    end
  end
  local entries = {}
  for _, record in ipairs(records) do
    entries[#entries + 1] = redis.call('XADD', P .. ':results', '*', 'decision', record)
  end
  redis.call('XTRIM', P .. ':results', 'MINID', '~', now - ARGV[5])
  redis.call('DEL', job)
  redis.call('ZREM', due, id)
  redis.call('SET', done, table.concat(entries, ' '), 'EX', ARGV[4])
  return 1
end

if op == 'defer' then
  -- reason, backoff_ms, backoff_max_ms, max_retries
  local stage = redis.call('HGET', job, 'stage')
  if not stage or stage == 'saved' then return 0 end
  local retries = redis.call('HINCRBY', job, 'retries', 1)
  if retries > tonumber(ARGV[7]) then return -1 end
  local wait = math.min(tonumber(ARGV[5]) * 2 ^ (retries - 1), tonumber(ARGV[6]))
  redis.call('HSET', job, 'stage', 'deferred', 'reason', ARGV[4])
  -- A start that failed for want of a part is not a sign of poison.
  redis.call('HINCRBY', job, 'starts', -1)
  redis.call('ZADD', due, now + wait, id)
  return wait
end

if op == 'bury' then
  -- letter
  if redis.call('EXISTS', job) == 0 and redis.call('EXISTS', done) == 1 then return 0 end
  -- Decided by another worker meanwhile: its publication is on the way and would otherwise find nothing.
  if redis.call('HGET', job, 'stage') == 'saved' then return 0 end
  redis.call('DEL', job)
  redis.call('ZREM', due, id)
  redis.call('HSET', dead, id, ARGV[4])
  redis.call('ZADD', order, now, id)
  return 1
end

if op == 'overdue' then
  -- limit
  local found = {}
  local ids = redis.call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[4], 'WITHSCORES')
  for i = 1, #ids, 2 do
    local was = redis.call('HMGET', P .. ':job:' .. ids[i],
      'stage', 'lane', 'payload', 'sent', 'started', 'sends', 'worker')
    if was[1] then
      local alive = was[7] and redis.call('EXISTS', P .. ':worker:' .. was[7]) or 0
      found[#found + 1] = {ids[i], ids[i + 1], was[1], was[2], was[3], was[4], was[5] or '0', was[6], alive, tostring(now)}
    else
      redis.call('ZREM', due, ids[i])
    end
  end
  return found
end

if op == 'resend' then
  -- due as seen, resend_after_ms
  local seen = redis.call('ZSCORE', due, id)
  if not seen or tonumber(seen) ~= tonumber(ARGV[4]) then return 0 end
  redis.call('HSET', job, 'stage', 'sent', 'sent', now)
  redis.call('HINCRBY', job, 'sends', 1)
  redis.call('ZADD', due, now + ARGV[5], id)
  return 1
end

if op == 'postpone' then
  -- due as seen, look_again_ms
  local seen = redis.call('ZSCORE', due, id)
  if seen and tonumber(seen) == tonumber(ARGV[4]) then redis.call('ZADD', due, now + ARGV[5], id) end
  return 1
end

if op == 'revive' then
  -- payload, lane
  if redis.call('HDEL', dead, id) == 0 then return 0 end
  redis.call('ZREM', order, id)
  redis.call('HSET', job, 'payload', ARGV[4], 'lane', ARGV[5], 'stage', 'deferred', 'sent', now, 'sends', 0)
  redis.call('ZADD', due, now, id)
  return 1
end

return redis.error_reply('unknown ledger operation ' .. tostring(op))
