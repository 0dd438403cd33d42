-- name, version ('' for unknown), moment, how many are kept, versions in use...: the revision, and the versions now old.
local name, current = ARGV[1], ARGV[2]
local revision = redis.call('INCR', key('revisions'))
local old, seen = {}, {}
local function add(version)
  if version ~= '' and version ~= current and not seen[version] then
    seen[version] = true
    old[#old + 1] = version
  end
end
local kept = redis.call('HGET', key('replaced'), name)
if kept then for _, version in ipairs(cmsgpack.unpack(kept)) do add(version) end end
local recorded = redis.call('HGET', key('sources'), name)
local fresh = {}
for n = 5, #ARGV do fresh[#fresh + 1] = ARGV[n] end
if recorded then fresh[#fresh + 1] = string.match(recorded, '^%S+ (.*)$') end
table.sort(fresh)
for _, version in ipairs(fresh) do add(version) end
redis.call('HSET', key('sources'), name, ARGV[3] .. ' ' .. current)
if #old > 0 then
  redis.call('HSET', key('replaced'), name, cmsgpack.pack(old))
  redis.call('ZADD', key('replacedat'), revision, name)
else
  redis.call('HDEL', key('replaced'), name)
  redis.call('ZREM', key('replacedat'), name)
end
while redis.call('ZCARD', key('replacedat')) > tonumber(ARGV[4]) do
  redis.call('HDEL', key('replaced'), redis.call('ZPOPMIN', key('replacedat'))[1])
end
return {revision, old}
