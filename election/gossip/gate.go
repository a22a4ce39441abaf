package gossip

import "encoding/binary"

// The gate checks what is authentic before it reaches memberlist, whose decoders take
// memory by what a header announces, and unpack what is compressed up to megabytes.
// Only the forms are let through that memberlist itself writes: flat maps of short
// values, whole, and no more of them than there can be members.

// The types of memberlist's messages that members send each other (see its net.go).
const (
	mlPing       = 0
	mlIndirect   = 1
	mlAck        = 2
	mlSuspect    = 3
	mlAlive      = 4
	mlDead       = 5
	mlPushPull   = 6
	mlCompound   = 7
	mlNack       = 11
	mlChecksum   = 12
	mlError      = 13
	mlLabel      = 244 // what engines of the first version began with
	checksumSize = 4

	// maxValue bounds a value in memberlist's messages, in bytes.
	maxValue = 1024
)

// validPacket reports whether b is a message of memberlist in a datagram, or several of
// them.
func validPacket(b []byte) bool {
	b = withoutChecksum(b)
	if len(b) < 2 || b[0] != mlCompound {
		return single(b)
	}
	count := int(b[1])
	if len(b) < 2+2*count {
		return false
	}
	lengths, rest := b[2:2+2*count], b[2+2*count:]
	for i := range count {
		size := int(binary.BigEndian.Uint16(lengths[2*i:]))
		if size > len(rest) || !single(rest[:size]) {
			return false
		}
		rest = rest[size:]
	}
	return len(rest) == 0
}

// withoutChecksum returns a message without memberlist's checksum.
func withoutChecksum(b []byte) []byte {
	if len(b) > 1+checksumSize && b[0] == mlChecksum {
		return b[1+checksumSize:]
	}
	return b
}

// single reports whether b is one message that may stand alone in a datagram.
func single(b []byte) bool {
	if len(b) == 0 || b[0] > mlDead && b[0] != mlNack {
		return false
	}
	rest, ok := flatMap(b[1:], nil)
	return ok && len(rest) == 0
}

// validStream reports whether b is a whole message of memberlist on a stream: a question
// or, from where this engine has dialled, an answer. It returns the part of it that is
// the sender's state, if it has one.
func validStream(b []byte, answer bool) (state []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch b[0] {
	case mlPushPull:
		return pushPullState(b[1:])
	case mlPing:
		if answer {
			return nil, false
		}
	case mlAck, mlError:
		if !answer {
			return nil, false
		}
	default:
		return nil, false
	}
	rest, ok := flatMap(b[1:], nil)
	return nil, ok && len(rest) == 0
}

// pushPullState checks a push/pull without its type, and returns the sender's state.
func pushPullState(b []byte) (state []byte, ok bool) {
	var nodes, size uint64
	seen := make(map[string]bool)
	rest, ok := flatMap(b, func(key string, v value) bool {
		known := !seen[key]
		seen[key] = true
		switch key {
		case "Nodes":
			nodes = v.number
			return known && v.isNumber && nodes <= maxMembers
		case "UserStateLen":
			size = v.number
			return known && v.isNumber && size <= maxMessage
		case "Join":
			return known
		}
		return false
	})
	for ; ok && nodes > 0; nodes-- {
		rest, ok = flatMap(rest, nil)
	}
	return rest, ok && uint64(len(rest)) == size
}

// value is one in a flat map.
type value struct {
	isNumber bool // and not negative
	number   uint64
}

// flatMap takes a map in the terms of MessagePack from the front of b, and returns what
// follows. Its keys are short texts, its values numbers, booleans, nothing or at most
// maxValue bytes. Each is given to fn, if that is not nil, which may refuse it.
func flatMap(b []byte, fn func(key string, v value) bool) (rest []byte, ok bool) {
	r := reader{rest: b}
	count := r.byte()
	if count&0xf0 != 0x80 { // fixmap
		return nil, false
	}
	for range count & 0x0f {
		size := r.byte()
		if size&0xe0 != 0xa0 { // fixstr
			return nil, false
		}
		key := string(r.take(int(size & 0x1f)))
		v, ok := flatValue(&r)
		if !ok || r.short || fn != nil && !fn(key, v) {
			return nil, false
		}
	}
	return r.rest, !r.short
}

func flatValue(r *reader) (v value, ok bool) {
	typ := r.byte()
	number := func(size int) (n uint64) {
		for _, b := range r.take(size) {
			n = n<<8 | uint64(b)
		}
		return n
	}
	text := func(size uint64) (value, bool) {
		if size > maxValue {
			return value{}, false
		}
		r.take(int(size))
		return value{}, true
	}
	switch {
	case typ < 0x80: // positive fixint
		return value{true, uint64(typ)}, true
	case typ&0xe0 == 0xa0: // fixstr
		return text(uint64(typ & 0x1f))
	case typ == 0xc0 || typ == 0xc2 || typ == 0xc3: // nil, false, true
		return value{}, true
	case typ == 0xc4 || typ == 0xd9: // bin 8, str 8
		return text(number(1))
	case typ == 0xc5 || typ == 0xda: // bin 16, str 16
		return text(number(2))
	case typ >= 0xcc && typ <= 0xcf: // uint 8 to 64
		return value{true, number(1 << (typ - 0xcc))}, true
	case typ >= 0xd0 && typ <= 0xd3: // int 8 to 64
		size := 1 << (typ - 0xd0)
		n := number(size)
		return value{true, n}, n>>(8*size-1) == 0
	}
	return value{}, false
}
