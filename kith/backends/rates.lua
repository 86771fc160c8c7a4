-- The generic cell rate algorithm, see kith.rates. Time is the server's.
--
-- Key schema (P is the prefix)
--   P:rate:NAME   string   when all that was taken would have been due, Unix microseconds; expires when that is past
--
-- Run twice, because an answer was lost, it takes two where one was asked for: the caller waits a little longer, no more.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local each, burst = 1000000 / tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + each * tonumber(ARGV[3])
local early = due - now - each * burst
if early > 0.5 then return math.ceil(early) end
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000) + 1)
return 0
