-- every version that was replaced, by document, in the order of the updates.
local all = {}
for _, name in ipairs(redis.call('ZRANGE', key('replacedat'), 0, -1)) do
  local kept = redis.call('HGET', key('replaced'), name)
  if kept then
    for _, version in ipairs(cmsgpack.unpack(kept)) do
      all[#all + 1] = name
      all[#all + 1] = version
    end
  end
end
return all
