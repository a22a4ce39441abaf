package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// The gate lets through to memberlist only what can come from an engine of the
// same cluster. Everything else is counted here; and memberlist never sees what
// it would handle badly:
//   - compressed messages, which may unpack to megabytes or nest without end: the
//     engines never compress;
//   - a message under the older of its two ways to encrypt. The byte that says which
//     is not authenticated, and under the older one memberlist panics on what was
//     recorded under the other.

// What memberlist puts in front of its messages (see its net.go and label.go).
const (
	mlPing       = 0
	mlAck        = 2
	mlPushPull   = 6
	mlCompound   = 7
	mlUser       = 8
	mlCompressed = 9
	mlEncrypted  = 10
	mlNack       = 11
	mlChecksum   = 12
	mlError      = 13
	mlLabel      = 244

	checksumSize = 4
	lengthSize   = 4 // of what is encrypted on a stream

	mlEncryption = 1 // the newer way to encrypt, which all engines use
)

// The label in front of every datagram and stream: l2vip, the version of the
// protocol, the cluster.
const (
	labelMagic   = "l2vip/"
	labelVersion = "1/"
)

func labelOf(cluster string) string { return labelMagic + labelVersion + cluster }

// errGate ends a stream that is not let through.
var errGate = errors.New("not for this cluster")

// classifyLabel returns whether a label is that of the cluster, and else why not.
func classifyLabel(label, want string) (reason, bool) {
	switch {
	case label == want:
		return 0, true
	case !strings.HasPrefix(label, labelMagic):
		return dropForeign, false
	case !strings.HasPrefix(label, labelMagic+labelVersion):
		return dropVersion, false
	}
	return dropCluster, false
}

// classifyPacket returns whether a datagram is let through, and else why not.
func classifyPacket(b []byte, label string, encrypted bool) (reason, bool) {
	if len(b) > maxDatagram {
		return dropTooLarge, false
	}
	if len(b) < 2 || b[0] != mlLabel || len(b) < 2+int(b[1]) {
		return dropForeign, false
	}
	size := 2 + int(b[1])
	if why, ok := classifyLabel(string(b[2:size]), label); !ok {
		return why, false
	}
	if b = b[size:]; encrypted {
		if len(b) == 0 || b[0] != mlEncryption {
			return dropKey, false
		}
		return 0, true // only memberlist can tell
	}
	if len(b) > 1+checksumSize && b[0] == mlChecksum {
		b = b[1+checksumSize:]
	}
	if !plausible(b) {
		return dropMalformed, false
	}
	return 0, true
}

// plausible reports whether b is a message of memberlist in a datagram, or
// several of them.
func plausible(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if b[0] != mlCompound {
		return single(b[0])
	}
	if len(b) < 2 || len(b) < 2+2*int(b[1]) {
		return false
	}
	count := int(b[1])
	lengths, rest := b[2:2+2*count], b[2+2*count:]
	for i := range count {
		size := int(binary.BigEndian.Uint16(lengths[2*i:]))
		if size == 0 || size > len(rest) || !single(rest[0]) {
			return false
		}
		rest = rest[size:]
	}
	return true
}

// single reports whether a message of the type may stand alone in a datagram.
func single(typ byte) bool {
	return typ < mlPushPull || typ == mlUser || typ == mlNack
}

// gateConn lets a stream through when its head is that of a member.
type gateConn struct {
	net.Conn
	label      string
	encrypted  bool
	reply      bool // this engine dialled: what comes has no label
	dropped    func(reason)
	head       []byte // read, and not yet handed out
	classified bool
	refused    bool
}

// Read reads from the stream. The first call classifies its head; memberlist has set
// a deadline before it.
func (c *gateConn) Read(b []byte) (int, error) {
	if !c.classified {
		c.classified = true
		why, err := c.classify()
		if c.refused = err != nil; errors.Is(err, errGate) {
			c.dropped(why)
		}
	}
	if c.refused {
		return 0, fmt.Errorf("stream from %v: %w", c.RemoteAddr(), errGate)
	}
	if len(c.head) > 0 {
		n := copy(b, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// classify reads the head: the label, the type of the first message, and how it is
// encrypted.
func (c *gateConn) classify() (reason, error) {
	if !c.reply {
		label, err := c.more(2)
		if err != nil {
			return 0, err
		}
		if label[0] != mlLabel {
			return dropForeign, errGate
		}
		if label, err = c.more(int(label[1])); err != nil {
			return 0, err
		}
		if why, ok := classifyLabel(string(label), c.label); !ok {
			return why, errGate
		}
	}
	typ, err := c.more(1)
	if err != nil {
		return 0, err
	}
	if c.encrypted != (typ[0] == mlEncrypted) {
		return dropKey, errGate
	}
	if c.encrypted {
		way, err := c.more(lengthSize + 1)
		if err != nil {
			return 0, err
		}
		if way[lengthSize] != mlEncryption {
			return dropKey, errGate
		}
		return 0, nil
	}
	switch typ[0] {
	case mlPushPull:
		return 0, nil
	case mlPing, mlUser:
		if !c.reply {
			return 0, nil
		}
	case mlAck, mlError:
		if c.reply {
			return 0, nil
		}
	}
	return dropMalformed, errGate
}

// more reads the next bytes of the head.
func (c *gateConn) more(count int) ([]byte, error) {
	read := len(c.head)
	c.head = append(c.head, make([]byte, count)...)
	_, err := io.ReadFull(c.Conn, c.head[read:])
	return c.head[read:], err
}
