package grpcwire

import (
	"encoding/binary"
	"fmt"
)

// Frames of RFC 9113, section 6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePushPromise  = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9
)

const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings, section 6.5.2.
const (
	settingTableSize      = 0x1
	settingEnablePush     = 0x2
	settingMaxStreams     = 0x3
	settingInitialWindow  = 0x4
	settingMaxFrame       = 0x5
	settingMaxHeaderBytes = 0x6

	// settingKin says that this package is at the end that sends it. It is of the
	// range for experiments: others ignore it, as they have to.
	settingKin = 0xfc1e
)

// Error codes, section 7.
const (
	codeNone            = 0x0
	codeProtocol        = 0x1
	codeInternal        = 0x2
	codeFlowControl     = 0x3
	codeStreamClosed    = 0x5
	codeFrameSize       = 0x6
	codeRefused         = 0x7
	codeCancel          = 0x8
	codeCompression     = 0x9
	codeEnhanceYourCalm = 0xb
	codeInadequate      = 0xc
)

const (
	preface        = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeaderLen = 9
	defaultWindow  = 1<<16 - 1
	maxWindow      = 1<<31 - 1
	maxFrameLen    = 16 << 10 // of what we read, and of what we write whatever the peer allows
	maxStreamID    = 1<<31 - 1
)

// connError ends the connection.
type connError struct {
	code   uint32
	reason string
}

func (e *connError) Error() string {
	return fmt.Sprintf("http2: %s (error code %d)", e.reason, e.code)
}

func violation(code uint32, reason string) error { return &connError{code, reason} }

func appendFrame(b []byte, kind, flags byte, stream uint32, length int) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags,
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

func appendData(b []byte, stream uint32, data []byte, end bool) []byte {
	var flags byte
	if end {
		flags = flagEndStream
	}
	return append(appendFrame(b, frameData, flags, stream, len(data)), data...)
}

func appendUint32Frame(b []byte, kind byte, stream, value uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, kind, 0, stream, 4), value)
}

func appendGoAway(b []byte, last, code uint32, reason string) []byte {
	b = appendFrame(b, frameGoAway, 0, 0, 8+len(reason))
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, code)
	return append(b, reason...)
}

type setting struct {
	id    uint16
	value uint32
}

func appendSettings(b []byte, settings ...setting) []byte {
	b = appendFrame(b, frameSettings, 0, 0, 6*len(settings))
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, s.id)
		b = binary.BigEndian.AppendUint32(b, s.value)
	}
	return b
}

// endHeaders turns what was appended to b since at, where a frame header was
// left out, into one HEADERS frame, and CONTINUATION frames if it is long.
func endHeaders(b []byte, at int, stream uint32, end bool) []byte {
	length := len(b) - at - frameHeaderLen
	var flags byte
	if end {
		flags = flagEndStream
	}
	if length <= maxFrameLen {
		appendFrame(b[:at], frameHeaders, flags|flagEndHeaders, stream, length)
		return b
	}
	block := append([]byte(nil), b[at+frameHeaderLen:]...)
	b = append(appendFrame(b[:at], frameHeaders, flags, stream, maxFrameLen), block[:maxFrameLen]...)
	for block = block[maxFrameLen:]; len(block) > 0; {
		n, last := min(len(block), maxFrameLen), byte(0)
		if n == len(block) {
			last = flagEndHeaders
		}
		b = append(appendFrame(b, frameContinuation, last, stream, n), block[:n]...)
		block = block[n:]
	}
	return b
}

// unpad returns what a padded frame carries.
func unpad(flags byte, p []byte) ([]byte, error) {
	if flags&flagPadded == 0 {
		return p, nil
	}
	if len(p) == 0 || int(p[0]) >= len(p) {
		return nil, violation(codeProtocol, "padding longer than its frame")
	}
	return p[1 : len(p)-int(p[0])], nil
}
