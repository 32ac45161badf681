package cloudevents

// The attributes that are not extensions of the record's own.
const (
	specversion = iota
	id
	source
	typ
	subject
	at
	datacontenttype
	dataschema
	sequence
	streamversion
	streamcategory
	partitionkey
	traceparent
	correlationid
	causationid
	tenant
	actor
	cleavemeta
	extension // any other
	data      // which is not an attribute
)

const prefix = "ce-"

// headers are the names of attributes in binary mode.
var headers = [extension]string{
	prefix + "specversion",
	prefix + "id",
	prefix + "source",
	prefix + "type",
	prefix + "subject",
	prefix + "time",
	prefix + "datacontenttype",
	prefix + "dataschema",
	prefix + "sequence",
	prefix + "streamversion",
	prefix + "streamcategory",
	prefix + "partitionkey",
	prefix + "traceparent",
	prefix + "correlationid",
	prefix + "causationid",
	prefix + "tenant",
	prefix + "actor",
	prefix + "cleavemeta",
}

// indexOf returns which attribute a name is.
func indexOf(name string) int {
	switch name {
	case "specversion":
		return specversion
	case "id":
		return id
	case "source":
		return source
	case "type":
		return typ
	case "subject":
		return subject
	case "time":
		return at
	case "datacontenttype":
		return datacontenttype
	case "dataschema":
		return dataschema
	case "sequence":
		return sequence
	case "streamversion":
		return streamversion
	case "streamcategory":
		return streamcategory
	case "partitionkey":
		return partitionkey
	case "traceparent":
		return traceparent
	case "correlationid":
		return correlationid
	case "causationid":
		return causationid
	case "tenant":
		return tenant
	case "actor":
		return actor
	case "cleavemeta":
		return cleavemeta
	case "data":
		return data
	}
	return extension
}
