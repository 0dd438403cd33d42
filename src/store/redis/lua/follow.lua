-- node, what it has applied, from which change and which news on, how many at most, whether to report.
local t = redis.call('TIME')
local now = int(tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000))
local seq = redis.call('GET', KEYS[1])
if not seq then return {false} end
if ARGV[6] == '1' then redis.call('HSET', key('nodes'), ARGV[1], ARGV[2] .. ' ' .. now) end
return {seq, low(), redis.call('XRANGE', key('log'), ARGV[3] .. '-0', '+', 'COUNT', ARGV[5]),
  redis.call('GET', key('fseq')) or '0', redis.call('XRANGE', key('feed'), ARGV[4] .. '-0', '+', 'COUNT', ARGV[5])}
