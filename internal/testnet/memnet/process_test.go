package memnet_test

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

func TestStop(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b := plug(t, s, 1), plug(t, s, 2)
		b.Stop()
		a.send("meanwhile")
		require.Empty(t, b.texts())
		require.True(t, asks(t, a, v4(2)), "the kernel goes on")

		written := make(chan error)
		start := time.Now()
		go func() {
			_, err := b.Write(frameOf(broadcast, b.hw(), "late"))
			written <- err
		}()
		opened := make(chan error)
		go func() { opened <- second(b.Process.Open(2)) }()
		require.Empty(t, a.texts())
		b.Continue()
		require.NoError(t, <-written)
		require.NoError(t, <-opened)
		require.GreaterOrEqual(t, time.Since(start), time.Second)
		require.Equal(t, "late", a.texts())
		require.Equal(t, "meanwhile", string(b.frames()[0][14:]))
	})
}

func TestKill(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b := plug(t, s, 1), plug(t, s, 2)
		b.Stop()
		results := make(chan error, 2)
		go func() { results <- second(b.Write(frameOf(broadcast, b.hw(), "never"))) }()
		go func() { results <- second(b.Process.Open(2)) }()
		synctest.Wait()
		b.Kill()
		got := []error{<-results, <-results}
		require.True(t, slices.Contains(got, net.ErrClosed) && slices.Contains(got, os.ErrProcessDone), "%v", got)
		require.ErrorIs(t, second(b.Read(nil)), net.ErrClosed)
		require.ErrorIs(t, b.Close(), net.ErrClosed)
		require.Empty(t, b.Neighbors(2))
		b.Listen(netip.AddrPortFrom(v4(2), 7946))()
		b.ProbePort(netip.AddrPortFrom(v4(1), 7946), func() { t.Error("it has ended") })
		b.Continue()
		b.Kill()
		require.Empty(t, a.texts())
		require.True(t, asks(t, a, v4(2)), "the kernel goes on")

		b = newNode(t, b.Station)
		a.send("again")
		require.Equal(t, "again", b.texts())
	})
}

func TestStationPowerOff(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b := plug(t, s, 1), plug(t, s, 2)
		b.PowerOff()
		require.ErrorIs(t, second(b.Write(frameOf(broadcast, b.hw(), "never"))), net.ErrClosed)
		require.ErrorIs(t, second(b.Start().Open(2)), os.ErrProcessDone)
		require.False(t, asks(t, a, v4(2)))
		require.False(t, asks(t, a, v6(2)))
		b.Restart()
		require.True(t, asks(t, a, v4(2)))
		require.True(t, asks(t, a, v6(2)))
		require.ErrorIs(t, second(b.Process.Open(2)), os.ErrProcessDone)
		require.Equal(t, "node-2", b.Name())
		b = newNode(t, b.Station)
		a.send("again")
		require.Equal(t, "again", b.texts())
	})
}

func TestPorts(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b := plug(t, s, 1), plug(t, s, 2)
		more := b.open(2)
		a.send("each")
		require.Equal(t, "each each", b.texts(), "each port has a copy")
		require.NoError(t, more.Close())
		a.send("one")
		require.Equal(t, "one", b.texts())
		require.ErrorIs(t, second(more.Write(frameOf(broadcast, b.hw(), "never"))), net.ErrClosed)

		require.ErrorIs(t, second(a.Write(make([]byte, 13))), syscall.EINVAL)
		require.ErrorIs(t, second(a.Write(make([]byte, 1515))), syscall.EMSGSIZE)
		require.NoError(t, second(a.Write(make([]byte, 1514))))
		require.ErrorIs(t, second(a.Process.Open(3)), syscall.ENODEV)
		require.Empty(t, a.texts())

		blocked := make(chan error)
		go func() { blocked <- second(second2(b.Process.Open(2)).Read(nil)) }()
		synctest.Wait()
		b.Kill()
		require.ErrorIs(t, <-blocked, net.ErrClosed)
	})
}

func second2(p *memnet.Port, _ error) *memnet.Port { return p }

func TestProbePort(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b, client := plug(t, s, 1), plug(t, s, 2), s.Station("client", v4(9))
		s.SetDuplicates(1)
		at := netip.AddrPortFrom(v4(2), 7946)
		closed := func(to netip.AddrPort) (times int) {
			a.ProbePort(to, func() { times++ })
			time.Sleep(time.Second)
			synctest.Wait()
			return times
		}
		start := time.Now()
		var took time.Duration
		a.ProbePort(at, func() { took = time.Since(start) })
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 100*time.Microsecond, took, "there and back")

		stop := b.Listen(at)
		require.Zero(t, closed(at))
		require.Equal(t, 1, closed(netip.AddrPortFrom(v4(2), 7947)))
		require.Equal(t, 1, closed(netip.AddrPortFrom(v6(2), 7946)))
		stop()
		stop()
		require.Equal(t, 1, closed(at))
		b.Listen(netip.AddrPortFrom(netip.IPv6Unspecified(), 7946))
		require.Zero(t, closed(at))
		require.Zero(t, closed(netip.AddrPortFrom(v6(2), 7946)))
		b.Stop()
		require.Zero(t, closed(at), "the socket of a stopped process is open")
		b.Kill()
		require.Equal(t, 1, closed(at))
		require.Equal(t, 1, closed(netip.AddrPortFrom(v4(9), 7946)))
		require.Zero(t, closed(netip.AddrPortFrom(v4(8), 7946)), "there is no such station")

		s.SetCut(b.Station, a.Station, true)
		require.Zero(t, closed(at), "the way back is cut")
		s.SetCut(b.Station, a.Station, false)
		s.SetCut(a.Station, b.Station, true)
		require.Zero(t, closed(at), "the way there is cut")
		s.SetCut(a.Station, b.Station, false)
		client.PowerOff()
		require.Zero(t, closed(netip.AddrPortFrom(v4(9), 7946)))

		start = time.Now()
		a.ProbePort(at, func() { took = time.Since(start) })
		a.Stop()
		time.Sleep(time.Second)
		a.Continue()
		synctest.Wait()
		require.Equal(t, time.Second, took, "a stopped process is told when it goes on")
		a.ProbePort(at, func() { t.Error("it has ended") })
		a.Kill()
		time.Sleep(time.Second)
	})
}

func TestNeighbors(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a := plug(t, s, 1)
		require.Empty(t, a.Neighbors(2))
		b, gateway := plug(t, s, 2), s.Station("gateway", v6(3))
		s.Station("without an address")
		s.SetCut(a.Station, b.Station, true)
		b.Link(2).SetSide(1)
		want := []memnet.Neighbor{{Addr: v4(2), HardwareAddr: b.hw()}, {Addr: v6(3), HardwareAddr: gateway.Link(2).HardwareAddr()}}
		require.Equal(t, want, a.Neighbors(2))
		for i := range byte(20) {
			s.Station("more", v4(50+i))
		}
		require.Len(t, a.Neighbors(2), 8)
		require.Empty(t, a.Neighbors(3))
	})
}
