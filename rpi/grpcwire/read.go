package grpcwire

import (
	"bytes"
	"encoding/binary"
	"io"
)

// read takes frames off the connection until it ends. first was read before.
func (c *conn) read(first []byte) error {
	buf := make([]byte, 4*maxFrameLen)
	start, end := 0, copy(buf, first)
	var failed error
	for {
		news := false
		for end-start >= frameHeaderLen {
			h := buf[start : start+frameHeaderLen]
			length := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
			if !c.settled && bytes.HasPrefix(h, []byte("HTTP/1.")) {
				return violation(codeProtocol, "the answer is HTTP/1")
			}
			if length > maxFrameLen {
				return violation(codeFrameSize, "frame too large")
			}
			next := start + frameHeaderLen + length
			if next > end {
				break
			}
			news = news || h[3] != framePing
			id := binary.BigEndian.Uint32(h[5:]) & maxStreamID
			if err := c.frame(h[3], h[4], id, buf[start+frameHeaderLen:next]); err != nil {
				return err
			}
			start = next
		}
		if news {
			c.news.Add(1)
		}
		switch {
		case failed == io.EOF:
			return io.ErrUnexpectedEOF
		case failed != nil:
			return failed
		case start == end:
			start, end = 0, 0
		case len(buf)-start < frameHeaderLen+maxFrameLen:
			end = copy(buf, buf[start:end])
			start = 0
		}
		var n int
		n, failed = c.nc.Read(buf[end:])
		end += n
		c.hear()
	}
}

func (c *conn) frame(kind, flags byte, id uint32, p []byte) error {
	if !c.settled {
		if kind != frameSettings || flags&flagAck != 0 {
			return violation(codeProtocol, "the first frame is not SETTINGS")
		}
		c.settled = true
	}
	if c.blockID != 0 && (kind != frameContinuation || id != c.blockID) {
		return violation(codeProtocol, "another frame within a block of headers")
	}
	switch kind {
	case frameData:
		return c.data(flags, id, p)
	case frameHeaders:
		return c.startBlock(flags, id, p)
	case frameContinuation:
		return c.continueBlock(flags, p)
	case frameReset:
		return c.wasReset(id, p)
	case frameSettings:
		return c.settings(flags, id, p)
	case framePing:
		return c.ping(flags, id, p)
	case frameGoAway:
		if id != 0 || len(p) < 8 {
			return violation(codeProtocol, "bad GOAWAY")
		}
		c.peer.goAway(binary.BigEndian.Uint32(p)&maxStreamID, binary.BigEndian.Uint32(p[4:]))
	case frameWindowUpdate:
		return c.windowUpdate(id, p)
	case framePriority:
		if id == 0 || len(p) != 5 {
			return violation(codeProtocol, "bad PRIORITY")
		}
	case framePushPromise:
		return violation(codeProtocol, "PUSH_PROMISE is switched off")
	}
	return nil
}

// stream returns the stream with the id, nil if there is none.
func (c *conn) stream(id uint32) *stream {
	if s := c.last; s != nil && s.id == id {
		return s
	}
	c.mu.Lock()
	s := c.streams[id]
	c.mu.Unlock()
	c.last = s
	return s
}

func (c *conn) data(flags byte, id uint32, p []byte) error {
	if id == 0 {
		return violation(codeProtocol, "DATA without a stream")
	}
	length := len(p)
	p, err := unpad(flags, p)
	if err != nil {
		return err
	}
	if c.received += length; c.received > connWindow/2 {
		back := c.received
		c.received = 0
		c.mu.Lock()
		c.out = appendUint32Frame(c.out, frameWindowUpdate, 0, uint32(back))
		c.release(false)
	}
	s := c.stream(id)
	if s == nil {
		if !c.peer.unknown(id) {
			return violation(codeProtocol, "DATA on an idle stream")
		}
		return nil
	}
	return s.take(p, length, flags&flagEndStream != 0)
}

func (c *conn) startBlock(flags byte, id uint32, p []byte) error {
	if id == 0 {
		return violation(codeProtocol, "HEADERS without a stream")
	}
	p, err := unpad(flags, p)
	if err != nil {
		return err
	}
	if flags&flagPriority != 0 {
		if len(p) < 5 {
			return violation(codeFrameSize, "HEADERS too short")
		}
		p = p[5:]
	}
	end := flags&flagEndStream != 0
	if flags&flagEndHeaders != 0 {
		return c.fieldsOf(id, p, end)
	}
	c.block, c.blockID, c.blockEnd, c.continued = append(c.block[:0], p...), id, end, 0
	return nil
}

func (c *conn) continueBlock(flags byte, p []byte) error {
	if c.blockID == 0 {
		return violation(codeProtocol, "CONTINUATION of nothing")
	}
	c.continued++
	if c.block = append(c.block, p...); len(c.block) > maxBlock || c.continued > maxContinued {
		return violation(codeEnhanceYourCalm, "too many headers")
	}
	if flags&flagEndHeaders == 0 {
		return nil
	}
	id := c.blockID
	c.blockID = 0
	return c.fieldsOf(id, c.block, c.blockEnd)
}

func (c *conn) fieldsOf(id uint32, block []byte, end bool) error {
	c.fields, c.size = c.fields[:0], 0
	if _, err := c.dec.Write(block); err != nil {
		return violation(codeCompression, err.Error())
	}
	if err := c.dec.Close(); err != nil {
		return violation(codeCompression, err.Error())
	}
	err := c.peer.headers(id, c.fields, c.size > maxHeaders, end)
	clear(c.fields)
	return err
}

func (c *conn) wasReset(id uint32, p []byte) error {
	if id == 0 || len(p) != 4 {
		return violation(codeProtocol, "bad RST_STREAM")
	}
	s := c.stream(id)
	if s == nil {
		if !c.peer.unknown(id) {
			return violation(codeProtocol, "RST_STREAM on an idle stream")
		}
		return nil
	}
	c.mu.Lock()
	s.reset = true
	if s.room != nil {
		notify(s.room)
	}
	c.mu.Unlock()
	c.last = nil
	s.broken(&resetError{binary.BigEndian.Uint32(p)})
	return nil
}

func (c *conn) settings(flags byte, id uint32, p []byte) error {
	if id != 0 {
		return violation(codeProtocol, "SETTINGS on a stream")
	}
	if flags&flagAck != 0 {
		if len(p) != 0 {
			return violation(codeFrameSize, "SETTINGS acknowledged with settings")
		}
		return nil
	}
	if len(p)%6 != 0 {
		return violation(codeFrameSize, "bad SETTINGS")
	}
	first := !c.configured
	for ; len(p) > 0; p = p[6:] {
		if binary.BigEndian.Uint16(p) == settingMaxStreams {
			first = false
		}
		if err := c.set(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	if c.configured = true; first {
		c.peer.maxStreams(maxStreamID) // it names no limit
	}
	return c.reply(func(b []byte) []byte { return appendFrame(b, frameSettings, flagAck, 0, 0) })
}

func (c *conn) set(id uint16, value uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch id {
	case settingTableSize:
		c.enc.limit(value)
	case settingEnablePush:
		if value > 1 {
			return violation(codeProtocol, "bad ENABLE_PUSH")
		}
	case settingMaxStreams:
		c.mu.Unlock()
		c.peer.maxStreams(value)
		c.mu.Lock()
	case settingInitialWindow:
		if value > maxWindow {
			return violation(codeFlowControl, "initial window too large")
		}
		change := int64(value) - c.initial
		c.initial = int64(value)
		for _, s := range c.streams {
			if s.window += change; s.window > maxWindow {
				return violation(codeFlowControl, "window too large")
			}
		}
		c.unblock()
	case settingKin:
		c.kin = true
	case settingMaxFrame:
		if value < maxFrameLen || value > 1<<24-1 {
			return violation(codeProtocol, "bad MAX_FRAME_SIZE")
		}
	}
	return nil
}

func (c *conn) ping(flags byte, id uint32, p []byte) error {
	if id != 0 {
		return violation(codeProtocol, "PING on a stream")
	}
	if len(p) != 8 {
		return violation(codeFrameSize, "bad PING")
	}
	if flags&flagAck != 0 {
		return nil
	}
	return c.reply(func(b []byte) []byte { return append(appendFrame(b, framePing, flagAck, 0, 8), p...) })
}

func (c *conn) windowUpdate(id uint32, p []byte) error {
	if len(p) != 4 {
		return violation(codeFrameSize, "bad WINDOW_UPDATE")
	}
	n := int64(binary.BigEndian.Uint32(p) & maxStreamID)
	if n == 0 {
		return violation(codeProtocol, "WINDOW_UPDATE by 0")
	}
	if id == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.window += n; c.window > maxWindow {
			return violation(codeFlowControl, "window too large")
		}
		c.unblock()
		return nil
	}
	s := c.stream(id)
	if s == nil {
		if !c.peer.unknown(id) {
			return violation(codeProtocol, "WINDOW_UPDATE on an idle stream")
		}
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.window += n; s.window > maxWindow {
		return violation(codeFlowControl, "window too large") // of the connection: simpler, and as fatal to the peer as it deserves
	}
	if s.room != nil {
		delete(c.blocked, s)
		notify(s.room)
	}
	return nil
}
