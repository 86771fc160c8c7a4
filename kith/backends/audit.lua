--[[ The audit log in Redis: the key schema, and every change of it.

  {prefix}:audit        stream  entry {number}-0: at (Unix ms), actor, action, gallery, subject (its id), sequence,
                                detail (JSON), digest. Numbers without holes
  {prefix}:audit:ends   hash    number, digest, at: of the newest entry
                                anchor_number, anchor_digest: of the newest entry that was cut off, absent before that

  Who appends computes the digests (kith.audit_chain) over the end it knows, and this script appends only if that still is
  the end: else it answers with the one there is now. SHA-256 is not in here because Redis has none; written in Lua it
  stopped the server for several times as long as everything else an entry costs.

  The clock is the server's (the appender is told it), and never goes backwards within the log: an age can be cut off.
]]

local stream, ends = KEYS[1], KEYS[2]
local GENESIS = string.rep('0', 64)
local COLUMNS = {'actor', 'action', 'gallery', 'subject', 'sequence', 'detail'}
local MAKES_ROOM = {forgot = true, key_destroyed = true}

local function now_ms()
  local clock = redis.call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end

local function head()
  local found = redis.call('HMGET', ends, 'number', 'digest', 'at', 'anchor_number', 'anchor_digest')
  local at = math.max(now_ms(), tonumber(found[3] or 0))
  return {found[1] or '0', found[2] or GENESIS, string.format('%.0f', at), found[4] or '0', found[5] or GENESIS}
end

local operations = {}

operations.head = head

-- rows: at, digest and COLUMNS of each entry, one behind the other.
function operations.append(number, digest, ...)
  local rows, width = {...}, 2 + #COLUMNS
  local last = number + #rows / width
  local known = head()
  if known[1] ~= number or known[2] ~= digest then
    -- The answer to the first attempt was lost on its way: these entries stand there already.
    local there = redis.call('XRANGE', stream, last .. '-0', last .. '-0')[1]
    if there and there[2][#there[2]] == rows[#rows - width + 2] then
      return {'ok'}
    end
    return {'moved', unpack(known)}
  end
  if MAKES_ROOM[rows[4]] then
    -- When memory is full the server refuses a script whose first write adds, and that is right: but not here. Without its
    -- entry nothing is forgotten, and to forget is what makes room. (There is no such field.)
    redis.call('HDEL', ends, '')
  end
  for start = 1, #rows, width do
    number = number + 1
    local fields = {'at', rows[start]}
    for index, name in ipairs(COLUMNS) do
      fields[#fields + 1] = name
      fields[#fields + 1] = rows[start + 1 + index]
    end
    fields[#fields + 1] = 'digest'
    fields[#fields + 1] = rows[start + 1]
    redis.call('XADD', stream, string.format('%.0f-0', number), unpack(fields))
  end
  redis.call('HSET', ends, 'number', string.format('%.0f', last), 'digest', rows[#rows - width + 2],
    'at', rows[#rows - width + 1])
  return {'ok'}
end

-- Cut off entries older than keep_ms, looking at the oldest `limit`; how many.
function operations.trim(keep_ms, limit)
  local before, gone, count = now_ms() - keep_ms, nil, 0
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', limit)) do
    if tonumber(entry[2][2]) >= before then
      break
    end
    gone, count = entry, count + 1
  end
  if gone then
    local number = tonumber(string.match(gone[1], '^%d+'))
    redis.call('XTRIM', stream, 'MINID', '=', string.format('%.0f-0', number + 1))
    redis.call('HSET', ends, 'anchor_number', string.format('%.0f', number), 'anchor_digest', gone[2][#gone[2]])
  end
  return count
end

return operations[ARGV[1]](unpack(ARGV, 2))
