-- name, token, milliseconds, 'take', 'keep', 'end' or 'alone': who holds the lease now.
local lease = key('l:' .. ARGV[1])
local held = redis.call('GET', lease)
if ARGV[4] == 'take' then
  if held then return held end
  redis.call('SET', lease, ARGV[2], 'PX', ARGV[3])
  return ARGV[2]
end
if held ~= ARGV[2] then return held end
if ARGV[4] == 'keep' then redis.call('PEXPIRE', lease, ARGV[3]) end
if ARGV[4] == 'end' then redis.call('DEL', lease) end
if ARGV[4] == 'alone' then redis.call('SET', lease, '-', 'PX', ARGV[3]) end
return held
