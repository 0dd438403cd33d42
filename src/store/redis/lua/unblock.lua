-- principals: the pairs that their entries are part of are forgotten.
for _, principal in ipairs(ARGV) do
  for _, pair in ipairs(redis.call('SMEMBERS', key('blockedby:' .. principal))) do
    redis.call('ZREM', key('blocked'), pair)
  end
  redis.call('DEL', key('blockedby:' .. principal))
end
return 1
