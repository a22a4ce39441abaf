package announce

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/l2vip/l2vip/internal/testnet"
)

// A lost subscription is taken up again with a fresh listing.
func TestSubscriptionIsTakenUpAgain(t *testing.T) {
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	defer lab.Close()
	node, err := lab.AddNode("node", netip.MustParsePrefix("192.168.122.10/24"))
	require.NoError(t, err)
	e := newTestEngine(t, 1, 1)
	e.links = nil
	e.warned = make(map[string]bool)
	signalled := func() {
		t.Helper()
		select {
		case <-e.watcher.links:
		case <-time.After(20 * time.Second):
			require.FailNow(t, "no signal")
		}
	}
	err = node.Do(func() error {
		if _, err := e.look(); err != nil {
			return err
		}
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}

		// A moment without carrier is not overlooked, though it is over.
		require.NoError(t, node.Unplug())
		require.NoError(t, node.Plug())
		signalled()
		require.Eventually(t, func() bool {
			down, err := e.watcher.take()
			return err == nil && down[eth0.Attrs().Index]
		}, 20*time.Second, time.Millisecond)

		first := e.watcher
		first.socket.Close()
		first.reader.Wait()
		signalled()
		e.links = nil
		if _, err := e.look(); err != nil {
			return err
		}
		require.NotSame(t, first, e.watcher)
		require.NotEmpty(t, e.links)
		require.False(t, e.troubled)
		if err := netlink.LinkSetMTU(eth0, 1400); err != nil {
			return err
		}
		signalled()
		e.unwatch()
		return nil
	})
	require.NoError(t, err)
}
