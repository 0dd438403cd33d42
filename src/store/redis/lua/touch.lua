-- now, the resolution, ids...
for n = 3, #ARGV do
  local last = redis.call('ZSCORE', key('lru'), ARGV[n])
  if last and tonumber(last) <= tonumber(ARGV[1]) - tonumber(ARGV[2]) then
    redis.call('ZADD', key('lru'), ARGV[1], ARGV[n])
  end
end
return 1
