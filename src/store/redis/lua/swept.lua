-- a change whose entries are swept; changes kept for nodes that lag.
redis.call('ZREM', key('pending'), ARGV[1])
local first = redis.call('ZRANGE', key('pending'), 0, 0)[1] or redis.call('GET', KEYS[1])
if first then
  local keep = redis.call('XREVRANGE', key('log'), int(tonumber(first)) .. '-0', '-', 'COUNT', ARGV[2])
  if #keep == tonumber(ARGV[2]) then redis.call('XTRIM', key('log'), 'MINID', '~', keep[#keep][1]) end
end
return 1
