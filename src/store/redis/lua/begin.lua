-- a number that is larger than every one before, from the time; and the least that it may be.
local t = redis.call('TIME')
local now = (tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)) * 1024
local at = now
if tonumber(ARGV[1]) >= at then at = tonumber(ARGV[1]) + 1 end
redis.call('SET', KEYS[1], int(at), 'NX')
return {redis.call('GET', KEYS[1]), redis.call('GET', key('fseq')) or '0'}
