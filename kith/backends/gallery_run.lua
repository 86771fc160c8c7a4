--[[ Runs the operation that ARGV[1] names. ]]

-- How long the answer to a change is kept: longer than any client goes on asking for it.
local ANSWER_KEPT_MS = 300000

-- KEYS[3], of a change: where its answer is kept, a key of this request alone. A client whose answer was lost on the way
-- sends the same again; run anew, a removal would find nothing to remove, and an undo might take back another change.
local answer = KEYS[3] and redis.call('GET', KEYS[3])
if answer then
  return cjson.decode(answer)
end
-- As many arguments as any operation names; those of lists are read from ARGV.
answer = operations[ARGV[1]](ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9])
-- What was refused is judged anew. So is what changed nothing, as keeping its answer might be refused for want of memory.
if KEYS[3] and changed then
  redis.call('SET', KEYS[3], cjson.encode(answer), 'PX', ANSWER_KEPT_MS)
end
return answer
