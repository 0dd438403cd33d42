-- the pair, how many are kept, whose entry it is part of ('' for unknown): whether it is news.
local new = 0
if not redis.call('ZSCORE', key('blocked'), ARGV[1]) then
  new = 1
  redis.call('ZADD', key('blocked'), redis.call('INCR', key('blocks')), ARGV[1])
  if ARGV[3] ~= '' then redis.call('SADD', key('blockedby:' .. ARGV[3]), ARGV[1]) end
  redis.call('ZREMRANGEBYRANK', key('blocked'), 0, -tonumber(ARGV[2]) - 1)
end
return new
