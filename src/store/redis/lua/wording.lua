-- id, fingerprint, '+' or '-': notes another wording of a living entry, or forgets it; whether that changed anything.
if ARGV[3] == '-' then
  local gone = redis.call('SREM', key('w:' .. ARGV[1]), ARGV[2])
  count('aliases', -gone)
  return gone
end
if redis.call('EXISTS', key('e:' .. ARGV[1])) == 0 then return -1 end
local new = redis.call('SADD', key('w:' .. ARGV[1]), ARGV[2])
count('aliases', new)
return new
