-- from which number on, how many at most.
local seq = redis.call('GET', KEYS[1])
if not seq then return {false} end
return {seq, low(), redis.call('XRANGE', key('log'), ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])}
