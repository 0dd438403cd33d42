-- fingerprint, id, '+' or '-': makes it another wording, unless it has an entry of its own; or forgets that it is one.
local before = redis.call('GET', key('f:' .. ARGV[1])) or ''
if ARGV[3] == '-' then
  if before == 'a' .. ARGV[2] then redis.call('DEL', key('f:' .. ARGV[1])) end
  return before
end
if before == '' or string.sub(before, 1, 1) == 'a' then redis.call('SET', key('f:' .. ARGV[1]), 'a' .. ARGV[2]) end
return before
