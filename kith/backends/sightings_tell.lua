-- News of cameras, see kith.watching.log. Part of watching.lua, which tells of what producers and people say, and of
-- ledger.lua, which tells of a camera's decisions in the step that publishes them.
--
-- Key schema (P is the prefix, G a gallery)
--   P:sightings         set     galleries that anything was ever told of
--   P:sightings:G       stream  one entry per piece of news, without what it says
--   P:sightings:G:told  hash    entry id -> the news (JSON), until a watcher has taken it. Beside the stream, because XDEL
--                               only marks an entry, and news hold names and vectors

local P = ARGV[1]

-- Appends news; drops the oldest beyond `most`. The id of the last. Begins by taking away, see watching.lua.
local function tell(gallery, texts, most)
  local stream, last = P .. ':sightings:' .. gallery, nil
  redis.call('HDEL', stream .. ':told', '')
  local beyond = redis.call('XLEN', stream) + #texts - most
  if beyond > 0 then
    -- More than is added, so that a backlog shrinks.
    local dropped = redis.call('XRANGE', stream, '-', '+', 'COUNT', beyond + 10)
    for _, entry in ipairs(dropped) do redis.call('HDEL', stream .. ':told', entry[1]) end
    for _, entry in ipairs(dropped) do redis.call('XDEL', stream, entry[1]) end
  end
  redis.call('SADD', P .. ':sightings', gallery)
  for _, text in ipairs(texts) do
    last = redis.call('XADD', stream, '*', 'n', '')
    redis.call('HSET', stream .. ':told', last, text)
  end
  return last
end
