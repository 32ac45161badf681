package eventtable

var ParseMeta = parseMeta
