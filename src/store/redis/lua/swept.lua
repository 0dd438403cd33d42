-- a change whose entries are swept; changes kept for nodes that lag.
redis.call('ZREM', key('pending'), ARGV[1])
local first = redis.call('ZRANGE', key('pending'), 0, 0)[1] or redis.call('GET', KEYS[1])
-- Numbers follow each other, so that nothing has to be counted.
if first then redis.call('XTRIM', key('log'), 'MINID', '~', int(tonumber(first) - tonumber(ARGV[2])) .. '-0') end
return 1
