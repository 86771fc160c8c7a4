-- The job ledger and the results stream: every step of a job's life is one call of this script, hence atomic.
-- One script with an operation word rather than a dozen: a worker that reconnects to an emptied server reloads one hash.
--
-- Time is the server's (TIME): producers, workers and sweepers may disagree about the hour, the ledger has one clock.
--
-- A call may be run twice, when its answer was lost on the way and the client asks again. Calls whose answer matters carry
-- a token; the job keeps the token and the answer of the last such call (`via`, `said`) and gives it again.
--
-- When memory is full the server refuses a script whose first write could enlarge it. `accept` begins so, on purpose: no
-- new jobs. Every other step first takes something away (its place in a set, old results): accepted jobs are finished.
--
-- Key schema (P is the prefix, times are Unix milliseconds)
--   P:job:ID        hash    payload, lane, stage, sent, started, worker, sends, starts, retries, reason, via, said,
--                           deadline and d:0..d:n-1 (decisions in JSON) once saved; edited: payload is not as it was sent
--   P:waiting:LANE  zset    job id -> when it was sent: the jobs in stage `sent`
--   P:due           zset    job id -> when the sweeper looks at it: the jobs in stage `started`, `deferred` or `saved`
--   P:started:LANE  string  when the newest job of a lane that was ever started had been sent (first sendings only)
--   P:done:ID       string  ids of the job's entries in P:results, or `cancelled`; kept for a while so that a repeat is
--                           recognised
--   P:asked:ID      string  what was asked under an idempotency key, as a digest (EmbedJob.asked): as long as the job is known
--   P:results       stream  one entry per decision: gallery; trimmed by age and number
--   P:results:told  hash    entry id -> the decision (JSON), until it is erased. Beside the stream, because XDEL only marks
--                           an entry: its bytes stay, see gallery.lua. An erased entry stays where readers count on it
--   P:dead          hash    job id -> dead letter (JSON)          P:dead:order  zset  job id -> time of burial
--   P:worker:ID     string  heartbeat (JSON), expires             P:workers     set   worker ids
--
-- All keys of one installation live on one primary; the script derives key names, so it does not fit Redis Cluster.
-- Preceded by sightings_tell.lua, which has `P` and `tell`.

local op, id = ARGV[2], ARGV[3]
local job, due, done, asked = P .. ':job:' .. id, P .. ':due', P .. ':done:' .. id, P .. ':asked:' .. id
local dead, order, results, told = P .. ':dead', P .. ':dead:order', P .. ':results', P .. ':results:told'

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function waiting(lane) return P .. ':waiting:' .. lane end

local function ended()
  return redis.call('EXISTS', done) == 1 or redis.call('HEXISTS', dead, id) == 1
end

-- Out of both sets; the first write of a step, see above.
local function take(lane)
  redis.call('ZREM', due, id)
  redis.call('ZREM', waiting(lane), id)
end

-- The job is over: `word` is remembered for a while, and what had been asked for as long.
local function remember(word, keep_s)
  redis.call('SET', done, word, 'EX', keep_s)
  redis.call('EXPIRE', asked, keep_s)
end

local function answered(token, answer)
  redis.call('HSET', job, 'via', token, 'said', answer)
  return answer
end

local function said_before(token)
  local was = redis.call('HMGET', job, 'via', 'said')
  return was[1] == token and was[2]
end

-- What a sweeper must know of a job: see OpenJob.
local function row(each, score)
  local was = redis.call('HMGET', P .. ':job:' .. each, 'stage', 'lane', 'payload', 'sent', 'started', 'sends', 'worker')
  local alive = was[7] and redis.call('EXISTS', P .. ':worker:' .. was[7]) or 0
  return {each, score, was[1], was[2], was[3], was[4], was[5] or '0', was[6], alive, tostring(now)}
end

local function rows(set, bound, limit)
  local found = {}
  local ids = redis.call('ZRANGE', set, '-inf', bound, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  for i = 1, #ids, 2 do found[#found + 1] = row(ids[i], ids[i + 1]) end
  return found
end

-- Drops results past their age or number, the oldest `limit` at most; how many.
local function trim(keep_ms, keep_entries, limit)
  local beyond, cut = redis.call('XLEN', results) - keep_entries, {}
  for position, entry in ipairs(redis.call('XRANGE', results, '-', '+', 'COUNT', limit)) do
    if position > beyond and tonumber(string.match(entry[1], '^%d+')) >= now - keep_ms then break end
    cut[position] = entry[1]
  end
  if #cut > 0 then
    redis.call('HDEL', told, unpack(cut))
    local ms, number = string.match(cut[#cut], '^(%d+)-(%d+)$')
    redis.call('XTRIM', results, 'MINID', '=', ms .. '-' .. string.format('%.0f', number + 1))
  end
  return #cut
end

if op == 'accept' then
  -- payload, lane, max_open, token, what is asked or '', lane...
  local said = said_before(ARGV[7])
  if said then return said end
  local known = redis.call('EXISTS', job) == 1 and 'open' or redis.call('EXISTS', done) == 1 and 'done'
    or redis.call('HEXISTS', dead, id) == 1 and 'dead'
  if known then
    -- Who does not say what was asked is not compared with.
    local before = ARGV[8] ~= '' and redis.call('GET', asked)
    return before and before ~= ARGV[8] and 'other' or known
  end
  local open = redis.call('ZCARD', due)
  for i = 9, #ARGV do open = open + redis.call('ZCARD', waiting(ARGV[i])) end
  if open >= tonumber(ARGV[6]) then return 'full' end
  redis.call('HSET', job, 'payload', ARGV[4], 'lane', ARGV[5], 'stage', 'sent', 'sent', now, 'sends', 1)
  redis.call('ZADD', waiting(ARGV[5]), now, id)
  if ARGV[8] ~= '' then redis.call('SET', asked, ARGV[8]) end
  return answered(ARGV[7], 'new')
end

if op == 'start' then
  -- worker, look_again_ms, max_starts, token
  local was = redis.call('HMGET', job, 'stage', 'worker', 'lane', 'sent', 'sends')
  if not was[1] then return ended() and 'finished' or 'absent' end
  local said = said_before(ARGV[7])
  if said then return said end
  if was[1] == 'saved' then return 'saved' end
  if was[1] == 'started' and redis.call('EXISTS', P .. ':worker:' .. was[2]) == 1 then return 'running' end
  take(was[3])
  redis.call('ZADD', due, now + ARGV[5], id)
  redis.call('HSET', job, 'stage', 'started', 'worker', ARGV[4], 'started', now)
  local mark = P .. ':started:' .. was[3]
  -- A job that was sent again may come by its old message, ahead of jobs that have waited longer: it overtook nobody.
  if was[5] == '1' and tonumber(was[4]) > tonumber(redis.call('GET', mark) or 0) then redis.call('SET', mark, was[4]) end
  -- Poison is this worker's too: should it end before it has buried the job, the sweeper sends it like any other.
  if redis.call('HINCRBY', job, 'starts', 1) > tonumber(ARGV[6]) then return answered(ARGV[7], 'poisoned') end
  return answered(ARGV[7], redis.call('HEXISTS', job, 'edited') == 1 and 'edited' or 'go')
end

if op == 'save' then
  -- resend_after_ms, deadline or '', decision...
  local was = redis.call('HMGET', job, 'stage', 'lane')
  if not was[1] then return 0 end
  -- Two workers may have done the same job; the first one's decisions stand, so that a reader of both sees one story.
  if was[1] ~= 'saved' then
    take(was[2])
    redis.call('ZADD', due, now + ARGV[4], id)
    redis.call('HSET', job, 'stage', 'saved', 'deadline', ARGV[5])
    for i = 6, #ARGV do redis.call('HSET', job, 'd:' .. (i - 6), ARGV[i]) end
  end
  return 1
end

if op == 'publish' then
  -- keep_done_s, keep_results_ms, keep_entries, deadline or '', gallery, most sightings that wait, their number, sighting...,
  -- decision... (none: the saved ones and their deadline). Answers 1 with the lane, and how old the job is.
  local was = redis.call('HMGET', job, 'lane', 'deadline')
  if not was[1] then return 0 end
  local seen = tonumber(ARGV[10])
  local deadline, records = ARGV[7], {unpack(ARGV, 11 + seen)}
  if #records == 0 then
    if not was[2] then return 0 end
    deadline = was[2]
  end
  if deadline ~= '' and now > tonumber(deadline) then return -1 end
  if #records == 0 then
    -- Straight from the hash to the stream: a decision is parsed again only by who reads it.
    local record = redis.call('HGET', job, 'd:0')
    while record do
      records[#records + 1] = record
      record = redis.call('HGET', job, 'd:' .. #records)
    end
  end
  -- More than is added, so that a backlog of old ones shrinks.
  trim(ARGV[5], ARGV[6], 2 * #records + 10)
  take(was[1])
  redis.call('DEL', job)
  -- With the decisions, so that the watcher hears of each crop once, whatever is delivered twice.
  if seen > 0 then tell(ARGV[8], {unpack(ARGV, 11, 10 + seen)}, tonumber(ARGV[9])) end
  local entries = {}
  for _, record in ipairs(records) do
    -- A decision names its gallery before anything that a caller wrote; quotes within values are escaped.
    local entry = redis.call('XADD', results, '*', 'gallery', string.match(record, '"gallery":"([%w_-]+)"') or '')
    redis.call('HSET', told, entry, record)
    entries[#entries + 1] = entry
  end
  remember(table.concat(entries, ' '), ARGV[4])
  -- By the hour its producer wrote down; before anything that a caller wrote, as above.
  local made = string.match(records[1] or '', '"created_ms":(%d+)')
  return {1, was[1], now - (tonumber(made) or now)}
end

if op == 'finish' then
  -- keep_done_s
  local lane = redis.call('HGET', job, 'lane')
  if not lane then return 0 end
  take(lane)
  redis.call('DEL', job)
  remember('', ARGV[4])
  return 1
end

if op == 'cancel' then
  -- keep_done_s, 1 for any. Else only what nobody works on: of a job that was started, something may have been done already.
  local was = redis.call('HMGET', job, 'stage', 'lane')
  if not was[1] then
    -- Also for who asks again because the answer was lost.
    return redis.call('GET', done) == 'cancelled' and 'cancelled' or ''
  end
  if was[1] ~= 'sent' and was[1] ~= 'deferred' and ARGV[5] ~= '1' then return was[1] end
  take(was[2])
  redis.call('DEL', job)
  remember('cancelled', ARGV[4])
  return 'cancelled'
end

if op == 'defer' then
  -- reason, backoff_ms, backoff_max_ms, max_retries, token
  local was = redis.call('HMGET', job, 'stage', 'lane')
  if not was[1] or was[1] == 'saved' then return 0 end
  local said = said_before(ARGV[8])
  if said then return tonumber(said) end
  take(was[2])
  local retries = redis.call('HINCRBY', job, 'retries', 1)
  local wait = math.min(tonumber(ARGV[5]) * 2 ^ (retries - 1), tonumber(ARGV[6]))
  redis.call('ZADD', due, now + wait, id)
  -- Also for the last time: who is told so may end before it has buried the job, or the sweeper may have sent it again.
  redis.call('HSET', job, 'stage', 'deferred', 'reason', ARGV[4])
  if retries > tonumber(ARGV[7]) then return answered(ARGV[8], -1) end
  -- A start that failed for want of a part is not a sign of poison.
  redis.call('HINCRBY', job, 'starts', -1)
  return answered(ARGV[8], wait)
end

if op == 'bury' then
  -- letter
  local was = redis.call('HMGET', job, 'stage', 'lane')
  if not was[1] and redis.call('EXISTS', done) == 1 then return 0 end
  -- Decided by another worker meanwhile: its publication is on the way and would otherwise find nothing.
  if was[1] == 'saved' then return 0 end
  redis.call('DEL', job)
  if was[2] then take(was[2]) end
  redis.call('HSET', dead, id, ARGV[4])
  redis.call('ZADD', order, now, id)
  return 1
end

if op == 'overdue' then
  -- limit
  return rows(due, now, ARGV[4])
end

if op == 'lost' then
  -- lane, resend_after_ms, 1 when the lane's queue is empty, limit
  local bound = now - ARGV[5]
  if ARGV[6] ~= '1' then bound = math.min(bound, (redis.call('GET', P .. ':started:' .. ARGV[4]) or 0) - ARGV[5]) end
  return rows(waiting(ARGV[4]), bound, ARGV[7])
end

if op == 'resend' then
  -- stage and score as seen, token
  local said = said_before(ARGV[6])
  if said then return tonumber(said) end
  local was = redis.call('HMGET', job, 'stage', 'lane')
  if was[1] ~= ARGV[4] then return 0 end
  local score = redis.call('ZSCORE', was[1] == 'sent' and waiting(was[2]) or due, id)
  if not score or tonumber(score) ~= tonumber(ARGV[5]) then return 0 end
  take(was[2])
  redis.call('ZADD', waiting(was[2]), now, id)
  redis.call('HSET', job, 'stage', 'sent', 'sent', now)
  redis.call('HINCRBY', job, 'sends', 1)
  return answered(ARGV[6], 1)
end

if op == 'retract' then
  -- again_ms: the message could not be sent after all
  local was = redis.call('HMGET', job, 'stage', 'lane')
  if was[1] ~= 'sent' then return 0 end
  take(was[2])
  redis.call('ZADD', due, now + ARGV[4], id)
  redis.call('HSET', job, 'stage', 'deferred')
  return 1
end

if op == 'postpone' then
  -- score as seen, look_again_ms
  local score = redis.call('ZSCORE', due, id)
  if score and tonumber(score) == tonumber(ARGV[4]) then redis.call('ZADD', due, 'XX', now + ARGV[5], id) end
  return 1
end

if op == 'revive' then
  -- payload, lane, token
  local said = said_before(ARGV[6])
  if said then return tonumber(said) end
  if redis.call('HDEL', dead, id) == 0 then return 0 end
  redis.call('ZREM', order, id)
  redis.call('HSET', job, 'payload', ARGV[4], 'lane', ARGV[5], 'stage', 'deferred', 'sent', now, 'sends', 0)
  redis.call('ZADD', due, now, id)
  return answered(ARGV[6], 1)
end

if op == 'beat' then
  -- heartbeat, lifetime_ms; `id` is the worker's
  redis.call('DEL', P .. ':worker:' .. id)
  redis.call('SET', P .. ':worker:' .. id, ARGV[4], 'PX', ARGV[5])
  redis.call('SADD', P .. ':workers', id)
  return 1
end

if op == 'trim' then
  -- keep_results_ms, keep_entries, limit
  return trim(ARGV[4], ARGV[5], ARGV[6])
end

if op == 'amend' then
  -- where ('job', 'dead' or 'told'; the last two with `id` as field), then field, text as seen, text to be ('' to erase).
  -- Nothing is done when one has changed since it was seen.
  local key = ({job = job, dead = dead, told = told})[ARGV[4]]
  for i = 5, #ARGV, 3 do
    if redis.call('HGET', key, ARGV[i]) ~= ARGV[i + 1] then return 0 end
  end
  for i = 5, #ARGV, 3 do
    -- Out first: so it works when memory is full, and nothing of the old text is kept for the new one to grow into.
    redis.call('HDEL', key, ARGV[i])
    if ARGV[i + 2] ~= '' then redis.call('HSET', key, ARGV[i], ARGV[i + 2]) end
    if ARGV[4] == 'job' and ARGV[i] == 'payload' then redis.call('HSET', key, 'edited', 1) end
    if ARGV[4] == 'dead' and ARGV[i + 2] == '' then
      redis.call('ZREM', order, ARGV[i])
      redis.call('DEL', P .. ':asked:' .. ARGV[i])
    end
  end
  return 1
end

return redis.error_reply('unknown ledger operation ' .. tostring(op))
