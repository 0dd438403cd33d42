-- a document's name: how many entries are built from it.
return #redis.call('SUNION', key('s:' .. ARGV[1]), key('t:' .. ARGV[1]))
