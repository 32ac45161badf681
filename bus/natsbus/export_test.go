package natsbus

// What the tests of the wire format need.
var (
	Encode = encode
	Decode = decode
)

var ErrForeign = errForeign
