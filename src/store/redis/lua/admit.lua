-- fence, now, id, fingerprint, category, facts, bytes, generated, invalidated, query, answer, vector, embedder, max age,
-- node, feed length, labels...
local seq = redis.call('GET', KEYS[1])
if not seq then return {'missing'} end
if seq ~= ARGV[1] then return {'behind'} end
local now, id, fp, category = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local before = redis.call('GET', key('f:' .. fp))
local other = ''
if before then
  if string.sub(before, 1, 1) == 'a' then
    local of = string.sub(before, 2)
    if redis.call('SREM', key('w:' .. of), fp) == 1 then count('aliases', -1) else other = of end
  elseif before ~= id then
    drop(before)
    news('-', before, ARGV[15], ARGV[16])
  end
end
if redis.call('EXISTS', key('m:' .. id)) == 1 then drop(id) end
local labels = {}
for n = 17, #ARGV do labels[#labels + 1] = ARGV[n] end
redis.call('HSET', key('m:' .. id), 'f', ARGV[6], 's', seq, 'p', fp, 'c', category, 'b', ARGV[7], 'l', cmsgpack.pack(labels))
if ARGV[9] ~= '' then
  redis.call('HSET', key('m:' .. id), 'i', ARGV[9])
  redis.call('ZADD', key('i:' .. category), ARGV[9], id)
end
redis.call('HSET', key('e:' .. id), 'a', ARGV[11])
if ARGV[10] ~= '' then redis.call('HSET', key('e:' .. id), 'q', string.sub(ARGV[10], 2)) end
if ARGV[12] ~= '' then redis.call('HSET', key('e:' .. id), 'x', ARGV[12], 'n', ARGV[13]) end
redis.call('PEXPIRE', key('e:' .. id), ARGV[14])
redis.call('SET', key('f:' .. fp), id)
redis.call('ZADD', key('ids'), id, id)
redis.call('ZADD', key('lru'), now, id)
redis.call('ZADD', key('g:' .. category), ARGV[8], id)
redis.call('HINCRBY', key('cats'), category, 1)
count('entries', 1)
count('bytes', tonumber(ARGV[7]))
for _, label in ipairs(labels) do
  redis.call('SADD', key(label), id)
  if string.sub(label, 1, 2) == 's:' then redis.call('HINCRBY', key('names'), string.sub(label, 3), 1) end
end
if ARGV[12] ~= '' then news('+', id, ARGV[15], ARGV[16]) end
return {'admitted', other}
