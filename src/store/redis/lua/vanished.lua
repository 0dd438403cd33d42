-- node, feed length, ids...: those that ran out or were evicted are taken out of everything.
local gone = {}
for n = 3, #ARGV do
  local id = ARGV[n]
  if redis.call('EXISTS', key('e:' .. id)) == 0 then
    drop(id)
    gone[#gone + 1] = id
  end
end
if #gone > 0 then news('-', table.concat(gone, ' '), ARGV[1], ARGV[2]) end
return gone
