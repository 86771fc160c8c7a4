--[[ Dropping a gallery, in one moment: nobody is matched in it any more, nobody changes it, and one that is made under its name
  is another. What the server would take long to free is only given another name (gallery.lua: gone) and freed piece by piece
  by whoever asked: a string is freed while everybody waits, by UNLINK too. What tells of pictures keeps that name until those
  are deleted.
]]

-- Few enough for the stack of unpack.
local UNLINKED_AT_ONCE = 1000

-- Three hexadecimal digits, see gallery.lua.
local PICTURE_BUCKETS = 4096

local function unlink(keys)
  for start = 1, #keys, UNLINKED_AT_ONCE do
    redis.call('UNLINK', unpack(keys, start, math.min(start + UNLINKED_AT_ONCE - 1, #keys)))
  end
end

-- epoch: of the gallery that is meant. The answer: its sequence, how many subjects, templates and payloads it had.
function operations.drop(name, epoch)
  local meta = redis.call('HMGET', g .. ':meta', 'epoch', 'sequence', 'next_slot', 'next_subject')
  if meta[1] ~= epoch then
    return {'unknown_gallery'}
  end
  -- Whoever wants to be rid of a gallery that was damaged is to be.
  local answer = {'ok', tostring(tonumber(meta[2]) or 0)}
  for _, part in ipairs({'subjects', 'templates', 'payloads'}) do
    table.insert(answer, tostring(redis.call('HLEN', g .. ':' .. part)))
  end
  changed = true
  -- A delete first: however full the memory is, the rest is not refused.
  redis.call('SREM', KEYS[2], name)
  local gone = string.gsub(KEYS[2], 'galleries$', '') .. 'gone:' .. epoch .. ':'
  local function set_aside(part)
    if redis.call('EXISTS', g .. ':' .. part) == 1 then
      redis.call('RENAME', g .. ':' .. part, gone .. part)
    end
  end
  set_aside('templates')
  set_aside('payloads')
  local blocks = math.ceil((tonumber(meta[3]) or 0) / BLOCK_ROWS)
  local chunks = math.floor((tonumber(meta[4]) or 0) / NAMES_AT_ONCE) + 1
  redis.call('HSET', gone .. 'extent', 'blocks', blocks, 'chunks', chunks, 'sequence', answer[2], 'subjects', answer[3],
    'templates', answer[4], 'payloads', answer[5])
  for block = 0, blocks - 1 do
    for _, kind in ipairs({'b', 'c', 'w', 'o'}) do
      set_aside(kind .. ':' .. block)
    end
  end
  for chunk = 0, chunks - 1 do
    set_aside('n:' .. chunk)
  end
  local keys = {}
  for _, part in ipairs({'meta', 'migration', 'unable', 'subjects', 'ended', 'names', 'external', 'free', 'log'}) do
    table.insert(keys, g .. ':' .. part)
  end
  for bucket = 0, PICTURE_BUCKETS - 1 do
    table.insert(keys, string.format('%s:i:%03x', g, bucket))
  end
  unlink(keys)
  return answer
end
