--[[ Templates in their slots: rows of packed blocks, and what is known of each beside its vector. ]]

-- Rows for slot and those after it, all in one block. Blocks grow in steps, those of a large gallery at once, always as a new
-- key: there SETRANGE allocates exactly, at the end of a long string it takes a megabyte ahead. (Zeros made in Lua cost
-- more than all the rest of an enrolment, and would stand in the append-only file.)
local function write_rows(kind, slot, bytes, rows)
  local key, at = g .. kind .. math.floor(slot / BLOCK_ROWS), (slot % BLOCK_ROWS) * bytes
  local length = redis.call('STRLEN', key)
  if length < at + #rows then
    local most = slot >= 4 * BLOCK_ROWS and BLOCK_ROWS or 16
    while most * bytes < at + #rows do
      most = most * 4
    end
    local before = length > 0 and redis.call('GET', key)
    redis.call('DEL', key)
    redis.call('SETRANGE', key, most * bytes - 1, '\0')
    if before then
      redis.call('SETRANGE', key, 0, before)
    end
  end
  redis.call('SETRANGE', key, at, rows)
end

local function read_row(kind, slot, bytes)
  local at = (slot % BLOCK_ROWS) * bytes
  return redis.call('GETRANGE', g .. kind .. math.floor(slot / BLOCK_ROWS), at, at + bytes - 1)
end

-- Slots for so many templates, ascending: those that are free, then new ones. The caller has written before.
local function take_slots(count)
  local slots = redis.call('LPOP', g .. ':free', count) or {}
  for position, slot in ipairs(slots) do
    slots[position] = tonumber(slot)
  end
  table.sort(slots)
  -- New ones are above all that were used before.
  local first = redis.call('HINCRBY', g .. ':meta', 'next_slot', count - #slots) - count + #slots
  for position = #slots + 1, count do
    slots[position] = first
    first = first + 1
  end
  return slots
end

-- So many more, or fewer, templates and removals are of this picture.
local function count_picture(image, by)
  if image == '' then
    return
  end
  local digest = redis.sha1hex(image)
  local key, field = g .. ':i:' .. string.sub(digest, 1, 3), string.sub(digest, 4, 15)
  if redis.call('HINCRBY', key, field, by) < 1 then
    redis.call('HDEL', key, field)
  end
end

-- The same for what a removal tells of; `templates` of any other change are ids.
local function count_removed(templates, by)
  for _, each in ipairs(templates or {}) do
    if type(each) == 'table' then
      count_picture(each[2], by)
    end
  end
end

-- Writes templates {n, slot, id, details, quality, sequence, row, told}, in the order of their slots; details: JSON of image,
-- quality and enrolled_ms; `vectors` holds all rows, numbered from 1 on. What is neighbours in both is written in one go.
local function put_templates(templates, vectors, bytes)
  local fields, set, owners, first = {}, own(), {}, 1
  for position, each in ipairs(templates) do
    local n, slot, id, details, quality, sequence, row, told = unpack(each, 1, 8)
    owners[#owners + 1] = struct.pack(OWNER, n, quality, sequence)
    if string.sub(details, 1, 2) ~= '""' then
      count_picture(string.match(details, '^"([^"\\]*)"') or cjson.decode('[' .. details .. ']')[1], 1)
    end
    fields[#fields + 1] = id
    fields[#fields + 1] = '[' .. digits(n) .. ',' .. digits(slot) .. ',' .. details .. ',' .. digits(sequence) ..
      (told and ',' .. cjson.encode(told) or '') .. ']'
    local following = templates[position + 1]
    if not following or following[2] ~= slot + 1 or following[7] ~= row + 1 or following[2] % BLOCK_ROWS == 0 then
      local start = templates[first]
      write_rows(set, start[2], bytes, string.sub(vectors, (start[7] - 1) * bytes + 1, row * bytes))
      write_rows(':o:', start[2], OWNER_BYTES, table.concat(owners))
      owners, first = {}, position + 1
    end
  end
  if #fields > 0 then
    redis.call('HSET', g .. ':templates', unpack(fields))
  end
end

local function template(id)
  local text = redis.call('HGET', g .. ':templates', id)
  return text and cjson.decode(text)
end

-- All changes that name a template, as it is stored; some may have been cut off the log.
local function tellers(known)
  local told = {known[6]}
  for _, sequence in ipairs(known[7] or {}) do
    table.insert(told, sequence)
  end
  return told
end

-- For which enrolment the other set has a vector in this slot, 0 for none.
local function other_since(slot)
  local row = read_row(':w:', slot, 8)
  return #row == 8 and struct.unpack('<d', row) or 0
end

local function clear_other(id, slot)
  local other = redis.call('HMGET', g .. ':migration', 'set', 'width')
  if not other[1] then
    return
  end
  if other_since(slot) > 0 then
    write_rows(':' .. other[1] .. ':', slot, tonumber(other[2]), nothing(tonumber(other[2])))
    write_rows(':w:', slot, 8, nothing(8))
    redis.call('HINCRBY', g .. ':migration', 'have', -1)
  end
  redis.call('HDEL', g .. ':unable', id)
end

local function free_template(id, known, bytes)
  clear_other(id, known[2])
  write_rows(own(), known[2], bytes, nothing(bytes))
  write_rows(':o:', known[2], OWNER_BYTES, nothing(OWNER_BYTES))
  redis.call('HDEL', g .. ':templates', id)
  count_picture(known[3], -1)
  redis.call('RPUSH', g .. ':free', known[2])
end
