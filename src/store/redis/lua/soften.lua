-- only entries admitted before this number, the moment, ids...: which are stale now.
local changed = {}
for n = 3, #ARGV do
  local id = ARGV[n]
  local m = redis.call('HMGET', key('m:' .. id), 's', 'i', 'c')
  if m[1] and tonumber(m[1]) < tonumber(ARGV[1]) then
    if not m[2] or tonumber(m[2]) > tonumber(ARGV[2]) then
      redis.call('HSET', key('m:' .. id), 'i', ARGV[2])
      redis.call('ZADD', key('i:' .. m[3]), ARGV[2], id)
    end
    changed[#changed + 1] = id
  end
end
return changed
