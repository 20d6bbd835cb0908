"""What the server does in one step, in its Lua.

1. The first command that writes decides: a server that is out of memory refuses it before anything has changed, and only
   that one. So an entry is added before it is counted, and deleted before it is no longer counted.
2. `rows` counts the rows of the stream's entries, and begins anew where the stream is empty.
3. What is in the cache never keeps a batch out: a key of another kind is overwritten.
"""

__all__ = ["ACKNOWLEDGE", "LEAVE", "PUT", "TAKE", "TOUCH"]

PUT = """
-- KEYS: stream, rows, seen, then a key for each cached fact
-- ARGV: limit, table, writer, segment, mark, rows in all, parts, seconds of a mark, seconds of a tick, group,
--       then rows and content of each part, then kind, time, id and data of each cached fact
local stream, counter, seen = KEYS[1], KEYS[2], KEYS[3]
local name, mark, more = ARGV[2], ARGV[5], tonumber(ARGV[6])
if mark ~= '' and redis.call('HGET', seen, name) == mark then return {0, 0} end
local held = 0
if redis.call('XLEN', stream) > 0 then held = tonumber(redis.call('GET', counter) or '0') end
-- A batch larger than the limit is taken when nothing else waits: otherwise it would wait for ever.
if held > 0 and held + more > tonumber(ARGV[1]) then return {-1, held} end
local place = 11
for _ = 1, tonumber(ARGV[7]) do
  redis.call('XADD', stream, '*', 'table', name, 'rows', ARGV[place], 'writer', ARGV[3], 'segment', ARGV[4],
    'content', ARGV[place + 1])
  place = place + 2
end
-- The group comes with the first entry: a server that is out of memory would not let those make it who are to empty it.
redis.pcall('XGROUP', 'CREATE', stream, ARGV[10], '0')
redis.call('SET', counter, string.format('%d', held + more))
if mark ~= '' then
  redis.call('HSET', seen, name, mark)
  redis.call('EXPIRE', seen, ARGV[8])
end
local function is_newer(time, id, known_time, known_id)
  time, known_time = tonumber(time), tonumber(known_time)
  if not known_time or time ~= known_time then return not known_time or time > known_time end
  known_id = tostring(known_id)
  return #id > #known_id or (#id == #known_id and id > known_id)
end
for number = 4, #KEYS do
  local key, kind, time, id, data = KEYS[number], unpack(ARGV, place, place + 3)
  local known = redis.pcall(unpack(kind == 'tick' and {'GET', key} or {'HGET', key, 'data'}))
  local fine, fact = pcall(cjson.decode, type(known) == 'string' and known or '')
  if not fine or type(fact) ~= 'table' then fact = {} end
  local known_id = fact.trade_id or (fact.update_id and string.format('%d', fact.update_id)) or ''
  if is_newer(time, id, fact.time, known_id) then
    if kind == 'tick' then
      redis.pcall('SET', key, data, 'EX', ARGV[9])
    else
      if type(known) == 'table' then redis.pcall('DEL', key) end
      redis.pcall('HSET', key, 'data', data, 'timestamp', time)
    end
  end
  place = place + 4
end
return {1, held + more}
"""

TAKE = """
-- KEYS: stream; ARGV: group, consumer, milliseconds of idleness, rows that are wanted, tries that are usual
local stream, group, consumer, idle = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local wanted, usual = tonumber(ARGV[4]), tonumber(ARGV[5])
-- Made again where it is lost, from the first entry on; an error where it is there.
redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
local taken, rows = {}, 0
local function keep(entry, tries)
  taken[#taken + 1] = {entry[1], entry[2], tries}
  for place = 1, #entry[2], 2 do
    if entry[2][place] == 'rows' then rows = rows + (tonumber(entry[2][place + 1]) or 0) end
  end
end
local function take_over(id, tries)
  local entry = redis.call('XCLAIM', stream, group, consumer, idle, id)[1]
  if entry then keep(entry, tries + 1) else redis.call('XACK', stream, group, id) end
end
local from, suspect = '-', nil
while rows < wanted do
  local pending = redis.call('XPENDING', stream, group, 'IDLE', idle, from, '+', 100)
  if #pending == 0 then break end
  for _, one in ipairs(pending) do
    from = '(' .. one[1]
    if one[4] >= usual then suspect = suspect or one
    elseif rows < wanted then take_over(one[1], one[4]) end
  end
end
while rows < wanted do
  local found = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1, 'STREAMS', stream, '>')
  if not found then break end
  keep(found[1][2][1], 1)
end
-- What so many have failed at comes last and alone, so that it takes nobody else down with it.
if suspect and #taken == 0 then take_over(suspect[1], suspect[4]) end
return taken
"""

ACKNOWLEDGE = """
-- KEYS: stream, rows; ARGV: group, then id and rows of each entry
local done = 0
for place = 2, #ARGV, 2 do
  -- One that another has acknowledged as well counts once.
  if redis.call('XDEL', KEYS[1], ARGV[place]) == 1 then done = done + tonumber(ARGV[place + 1]) end
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[place])
end
if done > 0 then redis.call('DECRBY', KEYS[2], string.format('%d', done)) end
"""

TOUCH = """
-- KEYS: stream; ARGV: group, consumer, milliseconds of idleness from now on, then ids
for place = 4, #ARGV do
  local id = ARGV[place]
  -- What another has taken over in the meantime is theirs.
  if #redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2]) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'IDLE', ARGV[3], 'JUSTID')
  end
end
"""

LEAVE = """
-- KEYS: stream; ARGV: group, consumer. A consumer that is deleted takes its pending entries with it, so it must have none.
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if not pending.err and #pending == 0 then redis.pcall('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
"""
