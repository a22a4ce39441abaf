package segmentnet_test

import (
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/internal/testnet/memnet"
	"github.com/l2vip/l2vip/internal/testnet/memnet/segmentnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEthernet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memnet.NewSwitch(memnet.SwitchConfig{})
		addrA, addrB := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		a, b := s.Station("a", addrA), s.Station("b", addrB)
		process := a.Start()
		ethernet := segmentnet.New(process)

		link := segmentnet.Link(a.Link(2))
		require.Equal(t, segment.Link{Index: 2, HardwareAddr: a.Link(2).HardwareAddr(), Addr: addrA}, link)
		require.False(t, segmentnet.Link(s.Station("c").Link(2)).Addr.IsValid())
		require.Equal(t, []segment.Neighbor{{Addr: addrB, HardwareAddr: b.Link(2).HardwareAddr()}}, ethernet.Neighbors(2))

		portA, err := ethernet.Open(link)
		require.NoError(t, err)
		portB, err := segmentnet.New(b.Start()).Open(segmentnet.Link(b.Link(2)))
		require.NoError(t, err)
		frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "from all to all"...)
		_, err = portA.Write(frame)
		require.NoError(t, err)
		got := make([]byte, 100)
		size, err := portB.Read(got)
		require.NoError(t, err)
		require.Equal(t, frame, got[:size])
		require.NoError(t, portA.Close())

		closed := make(chan struct{})
		ethernet.ProbePort(netip.AddrPortFrom(addrB, 7946), func() { close(closed) })
		<-closed

		process.Kill()
		port, err := ethernet.Open(link)
		require.ErrorIs(t, err, os.ErrProcessDone)
		require.True(t, port == nil)
		time.Sleep(time.Second)
	})
}
