package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

var (
	addrA = netip.MustParseAddr("10.0.0.1")
	addrB = netip.MustParseAddr("10.0.0.2")
	addrC = netip.MustParseAddr("2001:db8::3")
)

func listenPacket(t *testing.T, h *memnet.Host, address string) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(t.Context(), "udp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func listen(t *testing.T, h *memnet.Host, address string) net.Listener {
	t.Helper()
	l, err := h.Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// connect returns both ends of a stream from a to b.
func connect(t *testing.T, a, b *memnet.Host) (near, far net.Conn) {
	t.Helper()
	l := listen(t, b, net.JoinHostPort(b.Addr().String(), "0"))
	near, err := a.DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	far, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// arrives reads one datagram, and tells whether one came within a second.
func arrives(t *testing.T, c net.PacketConn) bool {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
	_, _, err := c.ReadFrom(make([]byte, 1500))
	if err != nil {
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	return err == nil
}

func send(t *testing.T, from, to net.PacketConn, text string) {
	t.Helper()
	n, err := from.WriteTo([]byte(text), to.LocalAddr())
	require.NoError(t, err)
	require.Equal(t, len(text), n)
}

func TestDatagramTakesTheLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{Latency: 3 * time.Millisecond})
		a := listenPacket(t, n.Host(addrA), "10.0.0.1:7")
		b := listenPacket(t, n.Host(addrB), "10.0.0.2:8")
		start := time.Now()
		send(t, a, b, "one")
		send(t, a, b, "two")
		buf := make([]byte, 2)
		size, from, err := b.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, "on", string(buf[:size]), "a short buffer cuts the datagram")
		require.Equal(t, &net.UDPAddr{IP: net.IP{10, 0, 0, 1}, Port: 7}, from)
		require.Equal(t, 3*time.Millisecond, time.Since(start))
		size, _, err = b.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, "tw", string(buf[:size]), "and only that one")
		require.Equal(t, 3*time.Millisecond, time.Since(start))

		// A slower datagram does not hold up a faster one.
		n.SetLatency(time.Second)
		send(t, a, b, "1 slow")
		n.SetLatency(-1)
		send(t, a, b, "2 fast")
		size, _, err = b.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, "2 ", string(buf[:size]))
	})
}

func TestDatagramQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{})
		a := listenPacket(t, n.Host(addrA), ":0")
		b := listenPacket(t, n.Host(addrB), "10.0.0.2:0")
		for range 5000 {
			send(t, a, b, "x")
		}
		count := 0
		for arrives(t, b) {
			count++
		}
		require.Equal(t, 1024, count)
		_, err := a.WriteTo(make([]byte, 65508), b.LocalAddr())
		require.ErrorIs(t, err, syscall.EMSGSIZE)
	})
}

func TestLossIsTheSeeds(t *testing.T) {
	lost := func(seed uint64) (pattern []bool) {
		synctest.Test(t, func(t *testing.T) {
			n := memnet.NewNetwork(memnet.NetworkConfig{Loss: 0.3, Seed: seed})
			a := listenPacket(t, n.Host(addrA), "10.0.0.1:0")
			b := listenPacket(t, n.Host(addrB), "10.0.0.2:0")
			for range 1000 {
				send(t, a, b, "x")
				pattern = append(pattern, !arrives(t, b))
			}
			n.SetLoss(0)
			send(t, a, b, "x")
			require.True(t, arrives(t, b))
			n.SetLoss(1)
			send(t, a, b, "x")
			require.False(t, arrives(t, b))
		})
		return pattern
	}
	one := lost(1)
	require.Equal(t, one, lost(1))
	require.NotEqual(t, one, lost(2))
	count := 0
	for _, l := range one {
		if l {
			count++
		}
	}
	require.InDelta(t, 300, count, 60)
}

func TestConnectedDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{})
		b := listenPacket(t, n.Host(addrB), "0.0.0.0:53")
		stranger := listenPacket(t, n.Host(addrA), "10.0.0.1:0")
		c, err := n.Host(addrA).DialContext(t.Context(), "udp", "10.0.0.2:53")
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte("question"))
		require.NoError(t, err)
		buf := make([]byte, 100)
		size, from, err := b.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, "question", string(buf[:size]))
		_, err = stranger.WriteTo([]byte("spoof"), from)
		require.NoError(t, err)
		_, err = b.WriteTo([]byte("answer"), from)
		require.NoError(t, err)
		size, err = c.Read(buf)
		require.NoError(t, err)
		require.Equal(t, "answer", string(buf[:size]))
	})
}

func TestBlockedCallsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{})
		p := listenPacket(t, n.Host(addrA), "10.0.0.1:0")
		l := listen(t, n.Host(addrA), "10.0.0.1:0")
		near, far := connect(t, n.Host(addrA), n.Host(addrB))
		calls := map[string]func() error{
			"ReadFrom": func() error { _, _, err := p.ReadFrom(nil); return err },
			"Accept":   func() error { _, err := l.Accept(); return err },
			"Read":     func() error { _, err := near.Read(make([]byte, 1)); return err },
			"Write":    func() error { _, err := far.Write(make([]byte, 1<<20)); return err },
		}
		// Deadlines first, set while the call blocks.
		var group sync.WaitGroup
		for name, call := range calls {
			group.Go(func() {
				err := call()
				if name == "Write" { // near is read below
					return
				}
				var timeout net.Error
				if !errors.As(err, &timeout) || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		synctest.Wait()
		past := time.Now().Add(-time.Second)
		require.NoError(t, p.SetReadDeadline(past))
		require.NoError(t, l.(interface{ SetDeadline(time.Time) error }).SetDeadline(past))
		require.NoError(t, near.SetReadDeadline(past))
		require.NoError(t, far.SetWriteDeadline(past))
		group.Wait()

		// Then Close.
		require.NoError(t, p.SetReadDeadline(time.Time{}))
		require.NoError(t, l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Time{}))
		require.NoError(t, near.SetReadDeadline(time.Time{}))
		require.NoError(t, far.SetWriteDeadline(time.Time{}))
		delete(calls, "Read") // there is data to be read
		for name, call := range calls {
			group.Go(func() {
				if err := call(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		synctest.Wait()
		require.NoError(t, p.Close())
		require.NoError(t, l.Close())
		require.NoError(t, far.Close())
		group.Wait()
		require.ErrorIs(t, p.Close(), net.ErrClosed)
		_, err := p.WriteTo(nil, p.LocalAddr())
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, p.SetDeadline(time.Time{}), net.ErrClosed)
	})
}

func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{})
		a, c := n.Host(addrA), n.Host(addrC)
		ctx := t.Context()
		require.Same(t, a, n.Host(netip.MustParseAddr("::ffff:10.0.0.1")))

		l := listen(t, a, "10.0.0.1:80")
		require.Equal(t, "10.0.0.1:80", l.Addr().String())
		_, err := a.Listen(ctx, "tcp", ":80")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		listenPacket(t, a, "10.0.0.1:80")
		_, err = a.ListenPacket(ctx, "udp", "10.0.0.1:80")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = a.Listen(ctx, "tcp", "10.0.0.9:80")
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		require.NoError(t, l.Close())
		listen(t, a, "10.0.0.1:80")
		require.Equal(t, "[2001:db8::3]:81", listen(t, c, "[2001:db8::3]:81").Addr().String())

		first, second := listenPacket(t, a, ":0"), listenPacket(t, a, ":0")
		require.NotEqual(t, first.LocalAddr(), second.LocalAddr())
		require.NotZero(t, first.LocalAddr().(*net.UDPAddr).Port)

		_, err = a.DialContext(ctx, "tcp", "[2001:db8::3]:9")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		var op *net.OpError
		require.ErrorAs(t, err, &op)
		require.Equal(t, "dial", op.Op)
		for _, bad := range []struct{ network, address string }{
			{"tcp", "nowhere:1"},
			{"tcp", "10.0.0.1"},
			{"tcp4", "[::1]:1"},
			{"tcp6", "10.0.0.1:1"},
			{"unix", "/x"},
			{"tcp44", "10.0.0.1:1"},
			{"tcp", "10.0.0.1:70000"},
		} {
			_, err = a.DialContext(ctx, bad.network, bad.address)
			require.Error(t, err, bad)
			_, err = a.Listen(ctx, bad.network, bad.address)
			require.Error(t, err, bad)
		}
	})
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{Latency: time.Millisecond})
		start := time.Now()
		near, far := connect(t, n.Host(addrA), n.Host(addrB))
		require.Equal(t, 2*time.Millisecond, time.Since(start), "there and back")
		require.Equal(t, near.LocalAddr(), far.RemoteAddr())
		require.Equal(t, near.RemoteAddr(), far.LocalAddr())

		_, err := near.Write([]byte("hello"))
		require.NoError(t, err)
		require.Equal(t, 2*time.Millisecond, time.Since(start), "a write waits for nobody")
		require.NoError(t, near.Close())
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		require.Equal(t, 3*time.Millisecond, time.Since(start))
		_, err = far.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)

		// What is written now arrives where nobody is.
		_, err = far.Write([]byte("late"))
		require.NoError(t, err)
		time.Sleep(2 * time.Millisecond)
		_, err = far.Write([]byte("late"))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestStreamHalfClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{})
		near, far := connect(t, n.Host(addrA), n.Host(addrB))
		_, err := near.Write([]byte("question"))
		require.NoError(t, err)
		require.NoError(t, near.(interface{ CloseWrite() error }).CloseWrite())
		_, err = near.Write([]byte("more"))
		require.ErrorIs(t, err, syscall.EPIPE)
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		require.Equal(t, "question", string(got))
		_, err = far.Write([]byte("answer"))
		require.NoError(t, err)
		require.NoError(t, far.Close())
		got, err = io.ReadAll(near)
		require.NoError(t, err)
		require.Equal(t, "answer", string(got))
	})
}

func TestStreamWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{})
		near, far := connect(t, n.Host(addrA), n.Host(addrB))
		big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
		var written bool
		go func() {
			_, err := near.Write(big)
			if err != nil {
				t.Error(err)
			}
			written = true
			_ = near.Close()
		}()
		synctest.Wait()
		require.False(t, written, "a writer waits when the window is full")
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		require.True(t, bytes.Equal(big, got))
		require.True(t, written)
	})
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{Latency: time.Millisecond})
		ha, hb, hc := n.Host(addrA), n.Host(addrB), n.Host(addrC)
		a, b, c := listenPacket(t, ha, "10.0.0.1:1"), listenPacket(t, hb, "10.0.0.2:1"), listenPacket(t, hc, "[2001:db8::3]:1")
		near, far := connect(t, ha, hb)
		l := listen(t, hb, "10.0.0.2:2")
		_, err := near.Write([]byte("in flight "))
		require.NoError(t, err)

		n.Partition([]netip.Addr{addrA}, []netip.Addr{addrB})
		send(t, a, b, "x")
		send(t, c, a, "x")
		send(t, c, b, "x")
		require.False(t, arrives(t, b))
		require.False(t, arrives(t, a))
		n.Partition([]netip.Addr{addrB}) // the others are one group
		send(t, c, a, "x")
		require.True(t, arrives(t, a))

		// A stream stalls, a dial hangs.
		_, err = near.Write([]byte("and stalled"))
		require.NoError(t, err)
		require.NoError(t, far.SetReadDeadline(time.Now().Add(time.Hour)))
		_, err = far.Read(make([]byte, 100))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, far.SetReadDeadline(time.Time{}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err = ha.DialContext(ctx, "tcp", l.Addr().String())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
		require.Equal(t, time.Minute, time.Since(start))

		start = time.Now()
		time.AfterFunc(time.Second, n.Heal)
		late, err := ha.DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		defer late.Close()
		require.Equal(t, time.Second+2*time.Millisecond, time.Since(start))
		require.NoError(t, near.Close())
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		require.Equal(t, "in flight and stalled", string(got))
		send(t, a, b, "x")
		require.True(t, arrives(t, b))
	})
}

func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{Latency: time.Millisecond})
		ha, hb := n.Host(addrA), n.Host(addrB)
		a, b := listenPacket(t, ha, "10.0.0.1:1"), listenPacket(t, hb, "10.0.0.2:1")
		l := listen(t, hb, "10.0.0.2:2")
		near, far := connect(t, ha, hb)
		waiting, err := ha.DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		defer waiting.Close()
		_, err = far.Write([]byte("last words"))
		require.NoError(t, err)

		hb.Crash()
		got, err := io.ReadAll(near)
		require.Equal(t, "last words", string(got))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = waiting.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		for _, err := range []error{
			second(far.Write([]byte("x"))), second(far.Read(make([]byte, 1))), second(l.Accept()),
			second(b.WriteTo([]byte("x"), a.LocalAddr())),
		} {
			require.ErrorIs(t, err, net.ErrClosed)
		}
		_, err = ha.DialContext(t.Context(), "tcp", l.Addr().String())
		require.ErrorIs(t, err, syscall.ECONNREFUSED)

		// The next process starts at once.
		b = listenPacket(t, hb, "10.0.0.2:1")
		send(t, a, b, "x")
		require.True(t, arrives(t, b))
	})
}

func TestPowerOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{Latency: time.Millisecond})
		ha, hb := n.Host(addrA), n.Host(addrB)
		listen(t, hb, "10.0.0.2:2")
		near, _ := connect(t, ha, hb)

		hb.PowerOff()
		_, err := hb.Listen(t.Context(), "tcp", "10.0.0.2:3")
		require.ErrorIs(t, err, syscall.ENETDOWN)
		_, err = near.Write([]byte("anybody?"))
		require.NoError(t, err)
		require.NoError(t, near.SetReadDeadline(time.Now().Add(time.Hour)))
		_, err = near.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = ha.DialContext(ctx, "tcp", "10.0.0.2:2")
		require.ErrorIs(t, err, context.DeadlineExceeded)

		hb.Restart()
		require.NoError(t, near.SetReadDeadline(time.Time{}))
		_, err = near.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = ha.DialContext(t.Context(), "tcp", "10.0.0.2:2")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
}

func TestCrashEndsADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{})
		h := n.Host(addrA)
		time.AfterFunc(time.Second, h.Crash)
		_, err := h.DialContext(t.Context(), "tcp", "10.0.0.2:2") // nobody has that address
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestFullBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.NewNetwork(memnet.NetworkConfig{Latency: -1})
		a := n.Host(addrA)
		l := listen(t, a, "10.0.0.1:1")
		var conns []net.Conn
		for range 128 {
			c, err := a.DialContext(t.Context(), "tcp", "10.0.0.1:1")
			require.NoError(t, err)
			conns = append(conns, c)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := a.DialContext(ctx, "tcp", "10.0.0.1:1")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.AfterFunc(time.Minute, func() { _, _ = l.Accept() })
		c, err := a.DialContext(t.Context(), "tcp", "10.0.0.1:1")
		require.NoError(t, err)
		for _, c := range append(conns, c) {
			require.NoError(t, c.Close())
		}
	})
}

func TestStreamIsAConn(t *testing.T) {
	nettest.TestConn(t, func() (near, far net.Conn, stop func(), err error) {
		n := memnet.NewNetwork(memnet.NetworkConfig{Latency: 10 * time.Microsecond})
		l, err := n.Host(addrB).Listen(t.Context(), "tcp", "10.0.0.2:0")
		if err != nil {
			return nil, nil, nil, err
		}
		if near, err = n.Host(addrA).DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
			return nil, nil, nil, err
		}
		if far, err = l.Accept(); err != nil {
			return nil, nil, nil, err
		}
		return near, far, func() { _, _, _ = near.Close(), far.Close(), l.Close() }, nil
	})
}

func second[T any](_ T, err error) error { return err }
