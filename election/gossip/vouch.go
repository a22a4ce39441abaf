package gossip

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// vouchPause is how often a member whose beats arrive is probed all the same, as often
	// as memberlist probes on a LAN by itself.
	vouchPause = time.Second
	// relayPause is for how long after a request to probe for another member every probe
	// goes out: it may be that one.
	relayPause = 100 * time.Millisecond
)

// vouching answers memberlist's probes of members whose beats arrive on a segment: they
// are alive, and a datagram and its answer ten times a second would not say it better.
// What has to be asked of a member itself, because it does not beat or no longer does, is
// asked as often as ever.
type vouching struct {
	beats func(name string) bool // nil: none does

	mu      sync.Mutex
	probed  map[string]time.Time // when each was really probed last
	relayed time.Time            // when another member asked to probe for it
}

// answer returns what answers a datagram of memberlist in place of the member that it
// is for, or nil if it has to be sent.
func (v *vouching) answer(b []byte, name string, now time.Time) []byte {
	if v.beats == nil {
		return nil
	}
	if len(b) > 1+checksumSize && b[0] == mlChecksum {
		b = b[1+checksumSize:]
	}
	if len(b) == 0 || b[0] != mlPing { // with other messages, or about a suspicion, too
		return nil
	}
	var number uint64
	if _, ok := flatMap(b[1:], func(key string, val value) bool {
		if key == "SeqNo" {
			number = val.number
		}
		return true
	}); !ok || !v.beats(name) {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Sub(v.relayed) < relayPause || now.Sub(v.probed[name]) >= vouchPause {
		if len(v.probed) >= maxMembers || v.probed == nil {
			v.probed = make(map[string]time.Time)
		}
		v.probed[name] = now
		return nil
	}
	ack := []byte("\x02\x82\xa7Payload\xc0\xa5SeqNo\xce") // as memberlist writes it
	return binary.BigEndian.AppendUint32(ack, uint32(number))
}

// relays notes that another member has asked to probe for it, if that is in b.
func (v *vouching) relays(b []byte, now time.Time) {
	if len(b) > 1+checksumSize && b[0] == mlChecksum {
		b = b[1+checksumSize:]
	}
	if len(b) > 0 && (b[0] == mlIndirect || b[0] == mlCompound) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.relayed = now
	}
}

// vouch hands memberlist the answer to a probe, if there is one without the member.
func (t *transport) vouch(b []byte, name string, now time.Time) bool {
	ack := t.vouching.answer(b, name, now)
	if ack == nil {
		return false
	}
	select {
	case t.packets <- &memberlist.Packet{Buf: ack, From: t.sockets.packet.LocalAddr(), Timestamp: now}:
		return true
	default: // memberlist is busy
		return false
	}
}
