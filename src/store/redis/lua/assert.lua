-- Changes that a failover lost, oldest first: number, id, payload, whether to sweep; for each.
local known = {}
for _, record in ipairs(redis.call('XRANGE', key('log'), ARGV[1] .. '-0', '+')) do known[record[2][2]] = true end
for n = 1, #ARGV, 4 do
  if not known[ARGV[n + 1]] then
    local seq = redis.call('GET', KEYS[1])
    if not seq or tonumber(seq) < tonumber(ARGV[n]) then
      seq = ARGV[n]
      redis.call('SET', KEYS[1], seq)
    else
      seq = int(redis.call('INCR', KEYS[1]))
    end
    redis.call('XADD', key('log'), seq .. '-1', 'k', ARGV[n + 1], 'd', ARGV[n + 2])
    if ARGV[n + 3] == '1' then redis.call('ZADD', key('pending'), seq, seq) end
  end
end
return redis.call('GET', KEYS[1])
