-- Every key of a part begins alike, so all are in one slot; the first key given names the part.
local P = string.sub(KEYS[1], 1, -4)
local function key(name) return P .. name end
-- Lua prints large numbers as 1.8e+15.
local function int(n) return string.format('%.0f', n) end
local function low()
  return redis.call('ZRANGE', key('pending'), 0, 0)[1] or false
end
local function news(op, ids, node, max)
  local n = int(redis.call('INCR', key('fseq')))
  redis.call('XADD', key('feed'), 'MAXLEN', '~', max, n .. '-1', 'o', op, 'i', ids, 'w', node)
end
local function count(field, by)
  if by ~= 0 then redis.call('HINCRBY', key('n'), field, int(by)) end
end
local function tally(hash, field, by)
  if redis.call('HINCRBY', key(hash), field, by) <= 0 then redis.call('HDEL', key(hash), field) end
end
-- Removes an entry with everything that leads to it.
local function drop(id)
  local m = redis.call('HMGET', key('m:' .. id), 'p', 'c', 'l', 'b')
  redis.call('DEL', key('e:' .. id), key('m:' .. id))
  redis.call('ZREM', key('ids'), id)
  redis.call('ZREM', key('lru'), id)
  if not m[1] then return false end
  if redis.call('GET', key('f:' .. m[1])) == id then redis.call('DEL', key('f:' .. m[1])) end
  local words = redis.call('SMEMBERS', key('w:' .. id))
  for _, word in ipairs(words) do
    if redis.call('GET', key('f:' .. word)) == 'a' .. id then redis.call('DEL', key('f:' .. word)) end
  end
  redis.call('DEL', key('w:' .. id))
  count('entries', -1)
  count('aliases', -#words)
  count('bytes', -tonumber(m[4]))
  redis.call('ZREM', key('g:' .. m[2]), id)
  redis.call('ZREM', key('i:' .. m[2]), id)
  tally('cats', m[2], -1)
  for _, label in ipairs(cmsgpack.unpack(m[3])) do
    redis.call('SREM', key(label), id)
    if string.sub(label, 1, 2) == 's:' then tally('names', string.sub(label, 3), -1) end
  end
  return true
end
