-- id, vector, embedder, node, feed length: replaces a living entry's vector.
if redis.call('EXISTS', key('e:' .. ARGV[1])) == 0 then return 0 end
redis.call('HSET', key('e:' .. ARGV[1]), 'x', ARGV[2], 'n', ARGV[3])
news('+', ARGV[1], ARGV[4], ARGV[5])
return 1
