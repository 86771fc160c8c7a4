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

-- A count as it stands in meta, where it can be one: a gallery that was damaged can be dropped too, and the server does not
-- count to infinity for it.
local function sane(text)
  local count = tonumber(text) or 0
  return count >= 0 and count <= 1e9 and count or 0
end

-- epoch: of the gallery that is meant. The answer: its sequence, how many subjects, templates and payloads it had.
function operations.drop(name, epoch)
  local meta = redis.call('HMGET', g .. ':meta', 'epoch', 'sequence', 'next_slot', 'next_subject')
  if (meta[1] or '') ~= epoch or redis.call('EXISTS', g .. ':meta') == 0 then
    return {'unknown_gallery'}
  end
  local answer = {'ok', string.format('%.0f', sane(meta[2]))}
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
  local blocks, chunks = math.ceil(sane(meta[3]) / BLOCK_ROWS), math.floor(sane(meta[4]) / NAMES_AT_ONCE) + 1
  -- Where the number is rubbish, as far as there are any.
  while redis.call('EXISTS', g .. ':b:' .. blocks, g .. ':c:' .. blocks, g .. ':o:' .. blocks) > 0 do
    blocks = blocks + 1
  end
  while redis.call('EXISTS', g .. ':n:' .. chunks) > 0 do
    chunks = chunks + 1
  end
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
