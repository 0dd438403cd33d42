-- change id, payload, whether entries have to be swept: the change's number.
if not redis.call('GET', KEYS[1]) then return false end
local seq = int(redis.call('INCR', KEYS[1]))
redis.call('XADD', key('log'), seq .. '-1', 'k', ARGV[1], 'd', ARGV[2])
if ARGV[3] == '1' then redis.call('ZADD', key('pending'), seq, seq) end
return seq
