-- 'f' and a fingerprint, or 'i' and an id: where the order of changes stands, and the entry.
local seq = redis.call('GET', KEYS[1])
if not seq then return {false} end
local id = ARGV[2]
local pointer = id
if ARGV[1] == 'f' then
  pointer = redis.call('GET', key('f:' .. id))
  if not pointer then return {seq, low()} end
  id = pointer
  if string.sub(pointer, 1, 1) == 'a' then id = string.sub(pointer, 2) end
end
return {seq, low(), pointer, redis.call('HMGET', key('e:' .. id), 'q', 'a', 'x', 'n'),
  redis.call('HMGET', key('m:' .. id), 'f', 'i', 's')}
