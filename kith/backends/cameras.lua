-- The cameras: who serves which, as one step. Keys, P the installation's prefix:
--
--   P:cameras                 hash    camera → Camera as JSON; may hold a password
--   P:cameras:paused          hash    camera → JSON {"why": …, "ms": since when}
--   P:cameras:held            hash    camera → "DEADLINE PROCESS", Unix milliseconds
--   P:cameras:processes       zset    process → Unix milliseconds until which it counts as alive
--   P:cameras:room            hash    process → most cameras it serves
--   P:cameras:reports         hash    camera → CameraReport as JSON
--   P:cameras:counts:CAMERA   hash    counter → number, since the camera was added
--   P:cameras:frame:CAMERA    string  "AT_MS " and a small JPEG, the last frame; expires
--
-- ARGV: P, operation, and what it needs. Each operation may be run twice. The server's clock alone is asked: those of
-- the processes may differ.

local prefix, operation = ARGV[1], ARGV[2]
local cameras, held = prefix .. ':cameras', prefix .. ':cameras:held'
local processes, room = prefix .. ':cameras:processes', prefix .. ':cameras:room'

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function holder_of(name)
    local text = redis.call('HGET', held, name)
    if not text then return nil, 0 end
    local deadline, process = string.match(text, '^(%d+) (.*)$')
    return process, tonumber(deadline)
end

local function share(process, lease_ms, most)
    redis.call('ZADD', processes, now + lease_ms, process)
    redis.call('HSET', room, process, most)
    for _, dead in ipairs(redis.call('ZRANGEBYSCORE', processes, '-inf', now)) do
        redis.call('ZREM', processes, dead)
        redis.call('HDEL', room, dead)
    end

    local wanted, holds, mine, free = 0, {}, {}, {}
    local names = redis.call('HKEYS', cameras)
    table.sort(names)
    for _, name in ipairs(names) do
        if redis.call('HEXISTS', prefix .. ':cameras:paused', name) == 0 then
            wanted = wanted + 1
            local who, deadline = holder_of(name)
            if who == process then
                mine[#mine + 1] = name
            elseif not who or deadline <= now then
                free[#free + 1] = name
                who = nil
            end
            if who then holds[who] = (holds[who] or 0) + 1 end
        end
    end

    -- Cameras are dealt one by one, each to the process with the fewest that still has room; of equals to the one that
    -- holds more already, so that as few as possible move.
    local living = redis.call('ZRANGE', processes, 0, -1)
    table.sort(living, function(a, b)
        local x, y = holds[a] or 0, holds[b] or 0
        if x ~= y then return x > y end
        return a < b
    end)
    local dealt, places = {}, {}
    for _, each in ipairs(living) do
        dealt[each], places[each] = 0, tonumber(redis.call('HGET', room, each)) or 0
    end
    for _ = 1, wanted do
        local least
        for _, each in ipairs(living) do
            if dealt[each] < places[each] and (not least or dealt[each] < dealt[least]) then least = each end
        end
        if not least then break end
        dealt[least] = dealt[least] + 1
    end

    local answer = {}
    for index, name in ipairs(mine) do
        if index <= dealt[process] then
            answer[#answer + 1] = name
        else
            redis.call('HDEL', held, name)
        end
    end
    for _, name in ipairs(free) do
        if #answer >= dealt[process] then break end
        answer[#answer + 1] = name
    end
    for _, name in ipairs(answer) do
        redis.call('HSET', held, name, string.format('%.0f %s', now + lease_ms, process))
    end
    table.sort(answer)
    local records = {}
    for _, name in ipairs(answer) do records[#records + 1] = redis.call('HGET', cameras, name) end
    return records
end

local function leave(process)
    redis.call('ZREM', processes, process)
    redis.call('HDEL', room, process)
    for _, name in ipairs(redis.call('HKEYS', held)) do
        if holder_of(name) == process then redis.call('HDEL', held, name) end
    end
    return 0
end

local function report(process, name, text, ...)
    if holder_of(name) ~= process then return 0 end
    redis.call('HSET', prefix .. ':cameras:reports', name, text)
    local counts = { ... }
    for index = 1, #counts, 2 do
        redis.call('HINCRBY', prefix .. ':cameras:counts:' .. name, counts[index], counts[index + 1])
    end
    return 1
end

local function frame(process, name, keep_ms, text)
    if holder_of(name) ~= process then return 0 end
    redis.call('SET', prefix .. ':cameras:frame:' .. name, text, 'PX', keep_ms)
    return 1
end

local function pause(name, why)
    if redis.call('HEXISTS', cameras, name) == 0 then return -1 end
    local served = redis.call('HDEL', held, name)
    local text = cjson.encode({ why = why, ms = now })
    redis.call('HSETNX', prefix .. ':cameras:paused', name, text)
    return served
end

if operation == 'share' then return share(ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])) end
if operation == 'leave' then return leave(ARGV[3]) end
if operation == 'report' then return report(unpack(ARGV, 3)) end
if operation == 'frame' then return frame(ARGV[3], ARGV[4], ARGV[5], ARGV[6]) end
if operation == 'pause' then return pause(ARGV[3], ARGV[4]) end
return redis.error_reply('unknown operation ' .. operation)
