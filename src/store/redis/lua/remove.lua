-- only entries admitted before this number ('' for any), node, feed length, ids...: which are gone now.
local gone = {}
for n = 4, #ARGV do
  local id = ARGV[n]
  local s = redis.call('HGET', key('m:' .. id), 's')
  if s and (ARGV[1] == '' or tonumber(s) < tonumber(ARGV[1])) and drop(id) then gone[#gone + 1] = id end
end
if #gone > 0 then news('-', table.concat(gone, ' '), ARGV[2], ARGV[3]) end
return gone
