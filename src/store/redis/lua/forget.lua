-- name: the revision, and whether it was recorded.
local recorded = redis.call('HDEL', key('sources'), ARGV[1])
redis.call('HDEL', key('replaced'), ARGV[1])
redis.call('ZREM', key('replacedat'), ARGV[1])
return {redis.call('INCR', key('revisions')), recorded}
