package gossip

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

// What engines send each other is part of the protocol.
func TestWireVectors(t *testing.T) {
	h := head{kind: kindEngine, ids: []keyID{{1, 2, 3, 4}, {5, 6, 7, 8}}, cluster: "c", sender: "a", instance: 0x1122334455667788}
	const text = "6c327647" + "02" + "02" + "02" + "01020304" + "05060708" + "0163" + "0161" + "1122334455667788"
	require.Equal(t, text, hex.EncodeToString(h.append(nil)))

	e := envelope{head: h, receiver: "b", counter: 9, token: token{0xff}}
	b := append(e.append(nil), make([]byte, sealSize)...)
	require.Equal(t, text+"0162"+"0000000000000009"+"ff00000000000000"+strings.Repeat("00", sealSize), hex.EncodeToString(b))
	got, sealed, err := parseEnvelope(b, "c")
	require.NoError(t, err)
	require.Equal(t, e, got)
	require.Len(t, sealed, sealSize)

	g := greeting{head: h, nonce: [nonceSize]byte{1}, known: 3, token: token{4}}
	g.kind = kindReply
	b = append(g.append(nil), make([]byte, macSize)...)
	require.Equal(t, len(b)-2, int(b[0])<<8|int(b[1]))
	again, mac, err := parseGreeting(b[2:], kindReply, "c")
	require.NoError(t, err)
	require.Equal(t, g, again)
	require.Len(t, mac, macSize)

	r := newRing("c", keysOf("k"))
	require.Equal(t, "5d1e148a", hex.EncodeToString(r.secrets[0].id[:]))
	aead := r.secrets[0].datagrams("c", "a", 7)
	require.Equal(t, "34791bfc331b74779dc9bf4524a46a51ff", hex.EncodeToString(aead.Seal(nil, nonce(1), []byte("x"), []byte("y"))))
	open := newRing("c", nil)
	require.Equal(t, noKey, open.secrets[0].id)
	require.False(t, open.keyed())
}

func TestHeadsOfOthers(t *testing.T) {
	h := head{kind: kindEngine, ids: []keyID{noKey}, cluster: "c", sender: "a", instance: 1}
	fine := h.append(nil)
	for i := range fine {
		_, _, err := parseHead(fine[:i], "c")
		require.Error(t, err, i)
	}
	later := bytes.Clone(fine)
	later[4]++
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing of ours": {[]byte("GET / HTTP/1.1\r\n\r\n"), errForeign},
		"nothing":         {nil, errForeign},
		"a later version": {later, errVersion},
		"an earlier one":  {append([]byte{mlLabel, 9}, "l2vip/1/x...."...), errVersion},
	} {
		_, _, err := parseHead(c.b, "c")
		require.ErrorIs(t, err, c.want, name)
		require.NotEqual(t, taken, reasonOf(err))
	}
	_, _, err := parseHead(fine, "other")
	require.ErrorIs(t, err, errCluster)
	for name, change := range map[string]func(*head){
		"no keys":       func(h *head) { h.ids = nil },
		"too many keys": func(h *head) { h.ids = make([]keyID, election.MaxKeys+1) },
		"no sender":     func(h *head) { h.sender = "" },
		"a broken name": func(h *head) { h.sender = "\xff" },
		"a long name":   func(h *head) { h.sender = strings.Repeat("x", maxName+1) },
		"no instance":   func(h *head) { h.instance = 0 },
	} {
		bad := h
		change(&bad)
		_, _, err := parseHead(bad.append(nil), "c")
		require.ErrorIs(t, err, errMalformed, name)
	}
}

// memberlist's messages as it encodes them.
var (
	mlHeader = "\x83\xa4Join\xc3\xa5Nodes\x01\xacUserStateLen\x03"
	mlNode   = "\x87\xa4Addr\xa4\x0a\x00\x00\x01\xabIncarnation\x05\xa4Meta\xa5l2vG\x02\xa4Name\xa1n\xa4Port\xcd\x1f\x0a\xa5State\x00\xa3Vsn\xa6\x01\x05\x02\x00\x00\x00"
	mlState  = "\x06" + mlHeader + mlNode + "abc"
	mlAckMsg = "\x02\x82\xa7Payload\xc0\xa5SeqNo\xce\x00\x00\x00\x07"
)

func TestGate(t *testing.T) {
	compound := "\x07\x02\x00" + string(rune(len(mlAckMsg))) + "\x00" + string(rune(len(mlAckMsg))) + mlAckMsg + mlAckMsg
	for _, b := range []string{mlAckMsg, "\x0c1234" + mlAckMsg, compound, "\x0c1234" + compound} {
		require.True(t, validPacket([]byte(b)), "%q", b)
		for i := range b {
			require.False(t, validPacket([]byte(b[:i])), "%q", b[:i])
		}
		require.False(t, validPacket([]byte(b+"x")))
	}
	for name, b := range map[string]string{
		"a user's":     "\x08x",
		"compressed":   "\x09\x82\xa4Algo\x00\xa3Buf\xa1x",
		"encrypted":    "\x0a123",
		"labelled":     "\xf4\x01x" + mlAckMsg,
		"nested":       "\x07\x01\x00\x04\x07\x01\x00\x00",
		"a push/pull":  mlState,
		"a map within": "\x02\x81\xa7Payload\x81\xa1x\x00",
		"a long list":  "\x02\xdf\xff\xff\xff\xff",
		"a long value": "\x02\x81\xa7Payload\xdb\x7f\xff\xff\xff",
	} {
		require.False(t, validPacket([]byte(b)), name)
	}

	state, ok := validStream([]byte(mlState), false)
	require.True(t, ok)
	require.Equal(t, "abc", string(state))
	_, ok = validStream([]byte(mlAckMsg), true)
	require.True(t, ok)
	for name, b := range map[string]string{
		"an answer that nobody asked for": mlAckMsg,
		"a million nodes":                 "\x06" + strings.Replace(mlHeader, "Nodes\x01", "Nodes\xd2\x00\x0f\x42\x40", 1) + mlNode + "abc",
		"more nodes than there are":       "\x06" + strings.Replace(mlHeader, "Nodes\x01", "Nodes\x02", 1) + mlNode + "abc",
		"a negative number":               "\x06" + strings.Replace(mlHeader, "Nodes\x01", "Nodes\xff", 1) + mlNode + "abc",
		"a large negative number":         "\x06" + strings.Replace(mlHeader, "Nodes\x01", "Nodes\xd0\x80", 1) + mlNode + "abc",
		"a number twice":                  "\x06" + strings.Replace(mlHeader, "\xa4Join\xc3", "\xa5Nodes\x01", 1) + mlNode + "abc",
		"a long state":                    "\x06" + strings.Replace(mlHeader, "Len\x03", "Len\xce\x01\x40\x00\x00", 1) + mlNode + "abc",
		"more state than it says":         "\x06" + strings.Replace(mlHeader, "Len\x03", "Len\x02", 1) + mlNode + "abc",
		"a field that there is not":       "\x06" + strings.Replace(mlHeader, "Join", "Joyn", 1) + mlNode + "abc",
		"a user's":                        "\x08\x81\xaaUserMsgLen\x01x",
		"compressed":                      "\x09\x82\xa4Algo\x00\xa3Buf\xa1x",
		"encrypted":                       "\x0a\x01\x40\x00\x00\x01",
		"nothing":                         "",
	} {
		_, ok := validStream([]byte(b), false)
		require.False(t, ok, name)
	}
}

// talk returns the two ends of a stream after the hellos, or why there is none.
func talk(t testing.TB, a, b *engine, tamper func(net.Conn) net.Conn) (dialled, accepted *stream, err error) {
	t.Helper()
	near, far := net.Pipe()
	deadline := time.Now().Add(2 * time.Second)
	_, _ = near.SetDeadline(deadline), far.SetDeadline(deadline)
	var out error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if accepted, out = b.trans.welcome(tamper(addressed{far})); out != nil {
			_ = far.Close()
		}
	}()
	dialled, err = a.trans.dial(addressed{near}, "", simEndpoint(0))
	if err != nil {
		_ = near.Close()
	}
	<-done
	for _, c := range []*stream{dialled, accepted} {
		if c != nil {
			c.budget, c.drop, c.closed = &a.trans.received, a.drop, func(*stream) {}
		}
	}
	return dialled, accepted, errors.Join(err, out)
}

// addressed is a pipe with addresses as those of sockets.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(simEndpoint(0)) }

// named returns a quiet engine of another name.
func namedEngine(t testing.TB, name string, secrets ...string) *engine {
	e := quietEngine(t)
	e.self, e.trans.links.self = name, name
	e.trans.current.Store(newRing(defaultCluster, keysOf(secrets...)))
	keys := e.trans.current.Load().from
	e.trans.keys = func() *election.Keys { return keys }
	return e
}

func untouched(c net.Conn) net.Conn { return c }

func TestStreamsCarryMessages(t *testing.T) {
	for _, secrets := range [][]string{nil, {"k"}} {
		a, b := namedEngine(t, "a", secrets...), namedEngine(t, "b", secrets...)
		dialled, accepted, err := talk(t, a, b, untouched)
		require.NoError(t, err)
		require.Equal(t, "b", dialled.peer.sender)
		require.Equal(t, "a", accepted.peer.sender)
		require.Equal(t, b.instance, a.trans.links.proven("b"), "both have proven themselves")
		require.Equal(t, a.instance, b.trans.links.proven("a"))
		for _, size := range []int{0, 1, maxFrame, maxFrame + 1, 3 * maxFrame} {
			message := bytes.Repeat([]byte{7}, size)
			go func() { _ = dialled.send(kindEngine, message) }()
			kind, got, err := accepted.receive()
			require.NoError(t, err)
			require.EqualValues(t, kindEngine, kind)
			require.Len(t, got, size)
		}
		_ = dialled.Close()
		_ = accepted.Close()
	}
}

// tampered changes one byte of what is read, or cuts it there.
type tampered struct {
	net.Conn
	at  int
	cut bool
}

func (c *tampered) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.at >= 0 && c.at < n {
		if b[c.at] ^= 1; c.cut {
			n, err = c.at, io.ErrUnexpectedEOF
			_ = c.Conn.Close()
		}
	}
	c.at -= n
	return n, err
}

// Whatever byte is changed or missing on a stream, nothing of its message arrives.
func TestStreamsThatAreChanged(t *testing.T) {
	for _, secrets := range [][]string{nil, {"k", "l"}} {
		a, b := namedEngine(t, "a", secrets...), namedEngine(t, "b", secrets...)
		size := 0
		count := &counted{size: &size}
		once := func(tamper func(net.Conn) net.Conn) error {
			dialled, accepted, err := talk(t, a, b, tamper)
			if err != nil {
				return err
			}
			defer func() { _, _ = dialled.Close(), accepted.Close() }()
			go func() { _ = dialled.send(kindEngine, []byte("a message")); _ = dialled.Conn.Close() }()
			_, got, err := accepted.receive()
			if err == nil && string(got) != "a message" {
				t.Fatalf("%q arrived", got)
			}
			return err
		}
		require.NoError(t, once(func(c net.Conn) net.Conn { count.Conn = c; return count }))
		require.Greater(t, size, 100)
		for at := range size {
			for _, cut := range []bool{false, true} {
				require.Error(t, once(func(c net.Conn) net.Conn { return &tampered{c, at, cut} }), "byte %d", at)
			}
		}
	}
}

// counted counts what is read.
type counted struct {
	net.Conn
	size *int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	*c.size += n
	return n, err
}

func FuzzDatagram(f *testing.F) {
	from, to := pair(nil)
	r := newRing(defaultCluster, nil)
	f.Add(from.datagram(r, kindEngine, "self", simEndpoint(1), []byte("x")))
	from.link("self", time.Now()).given = to.token("from", from.instance, simEndpoint(0), time.Now())
	for kind := byte(kindMemberlist); kind <= kindNothing; kind++ {
		f.Add(from.datagram(r, kind, "self", simEndpoint(1), []byte(mlAckMsg)))
	}
	f.Add([]byte("l2vG\x02"))
	f.Add(append([]byte{mlLabel, 13}, "l2vip/1/l2vip"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := quietEngine(t)
		e.trans.take(b, net.UDPAddrFromAddrPort(simEndpoint(0)), time.Now())
		if s := e.trans.sockets.packet.(*sink); len(s.sent) > 1 {
			t.Fatalf("%d datagrams for one", len(s.sent))
		}
		// What is sealed, whoever has sealed it.
		e.trans.links.challenged(&envelope{head: head{sender: "other", instance: 1}}, b)
		_ = validPacket(b)
		_, _ = validStream(b, true)
		_, _ = validStream(b, false)
	})
}

func FuzzGreeting(f *testing.F) {
	e := quietEngine(f)
	hello := e.trans.hello(kindHello, newRing(defaultCluster, nil), &secret{})
	f.Add(hello.append(nil))
	hello.kind = kindReply
	f.Add(append(hello.append(nil), make([]byte, macSize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []byte{kindHello, kindReply} {
			raw, g, mac, err := readGreeting(bytes.NewReader(b), kind, defaultCluster)
			if err == nil && !bytes.Equal(append(g.append(nil), mac...), raw) {
				t.Fatal("reads differently the second time")
			}
		}
	})
}

// FuzzStream feeds the frames of a stream whose key is known, sealed so that they open.
func FuzzStream(f *testing.F) {
	f.Add([]byte(mlState), uint16(3), byte(kindMemberlist))
	f.Add([]byte("x"), uint16(0), byte(kindEngine|lastFrame))
	f.Fuzz(func(t *testing.T, b []byte, part uint16, kind byte) {
		e := quietEngine(t)
		var wire bytes.Buffer
		aead := newAEAD(make([]byte, 32))
		for i := uint64(0); len(b) > 0; i++ {
			n := min(len(b), max(1, int(part)))
			head := []byte{kind, byte(n >> 16), byte(n >> 8), byte(n)}
			if n == len(b) {
				head[0] |= lastFrame
			}
			wire.Write(aead.Seal(head, nonce(i), b[:n], head))
			b = b[n:]
		}
		c := &stream{
			Conn: replayed{Reader: &wire}, in: aead, budget: &e.trans.received, drop: e.drop,
			peer: greeting{head: head{sender: "other", instance: 1}},
		}
		out, _ := io.ReadAll(c)
		if len(out) > 0 {
			if _, ok := validStream(out, false); !ok && kind&lastFrame == 0 {
				t.Fatalf("%q reached memberlist", out)
			}
		}
	})
}

// FuzzFrames feeds what was not sealed.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{kindEngine | lastFrame, 0, 0, 0, 1, 2, 3})
	f.Add([]byte{kindEngine, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		e := quietEngine(t)
		c := &stream{Conn: replayed{Reader: bytes.NewReader(b)}, in: newAEAD(make([]byte, 32)), budget: &e.trans.received, drop: e.drop}
		if _, _, err := c.receive(); err == nil {
			t.Fatal("opened without the key")
		}
	})
}

// replayed is a connection on which that comes.
type replayed struct {
	net.Conn
	io.Reader
}

func (r replayed) Read(b []byte) (int, error) { return r.Reader.Read(b) }
func (replayed) RemoteAddr() net.Addr         { return net.TCPAddrFromAddrPort(simEndpoint(0)) }
