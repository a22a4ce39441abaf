package announce

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestNewFindsAllThatIsWrong(t *testing.T) {
	_, err := New(Config{Bind: None + 1, Refresh: -1})
	var ce *ConfigError
	require.ErrorAs(t, err, &ce)
	require.ErrorContains(t, err, "Bind: 3 is no way to bind")
	require.ErrorContains(t, err, "Refresh: -1ns is negative")
	a, err := New(Config{})
	require.NoError(t, err)
	require.Equal(t, DefaultRefresh, a.config.Refresh)
	require.Zero(t, a.Stats())
}

// Everything that is wrong is told at once, with its place, and nothing changes.
func TestSetFindsAllThatIsWrong(t *testing.T) {
	a, err := New(Config{})
	require.NoError(t, err)
	good := []Assignment{{Addr: addr("10.0.0.2")}, {Addr: addr("10.0.0.1"), Mode: Answer}}
	require.NoError(t, a.Set(good))
	require.Equal(t, addr("10.0.0.2"), good[0].Addr, "the argument is left as it is")
	<-a.changed
	before := a.assignments
	require.Equal(t, addr("10.0.0.1"), before[0].Addr)

	err = a.Set([]Assignment{
		{Addr: addr("10.0.0.9")},
		{},
		{Addr: addr("2001:db8::1")},
		{Addr: addr("::ffff:10.0.0.1")},
		{Addr: addr("224.0.0.1")},
		{Addr: addr("127.0.0.1")},
		{Addr: addr("0.0.0.0")},
		{Addr: addr("255.255.255.255")},
		{Addr: addr("10.0.0.9"), Mode: Answer + 1},
		{Addr: addr("10.0.0.3"), Interfaces: []string{"eth0", ""}},
		{Addr: addr("::")},
		{Addr: addr("::1")},
		{Addr: addr("ff02::1")},
		{Addr: addr("fe80::1%eth0"), Interfaces: []string{"eth0"}},
		{Addr: addr("fe80::1"), Interfaces: []string{"eth0"}},
		{Addr: addr("10.0.0.4"), Interfaces: []string{"e*h0"}},
		{Addr: addr("10.0.0.5"), Interfaces: []string{"sixteen-bytes-is"}},
		{Addr: addr("10.0.0.6"), Interfaces: []string{"eth0/1"}},
		{Addr: addr("10.0.0.7"), Interfaces: []string{"eth 0"}},
		{Addr: addr("10.0.0.8"), Interfaces: []string{"eth0", "*", "eth*", "fifteen-bytes-a*"}},
	})
	require.Error(t, err)
	for _, part := range []string{
		"[1].Addr: missing",
		"[3].Addr: ::ffff:10.0.0.1 is an IPv4 address written as IPv6: write 10.0.0.1",
		"[4].Addr: 224.0.0.1 is no unicast address",
		"[5].Addr: 127.0.0.1 is no unicast address",
		"[6].Addr: 0.0.0.0 is no unicast address",
		"[7].Addr: 255.255.255.255 is no unicast address",
		"[8].Addr: 10.0.0.9 is also in [0]",
		"[8].Mode: 3 is no mode",
		"[9].Interfaces: \"\": an empty name",
		"[10].Addr: :: is no unicast address",
		"[11].Addr: ::1 is no unicast address",
		"[12].Addr: ff02::1 is no unicast address",
		"[13].Addr: fe80::1%eth0 has a zone: name the interface in Interfaces",
		"[14].Addr: fe80::1 belongs to one interface, so it can't be bound to lo: Config.Bind must be Interface or None",
		"[15].Interfaces: \"e*h0\": a * stands at the end only",
		"[16].Interfaces: \"sixteen-bytes-is\": longer than the 15 bytes",
		"[17].Interfaces: \"eth0/1\": no interface's name has",
		"[18].Interfaces: \"eth 0\": no interface's name has",
	} {
		require.ErrorContains(t, err, part)
	}
	for _, fine := range []string{"[0].", "[2].", "[19]."} {
		require.NotContains(t, err.Error(), fine+"Addr")
		require.NotContains(t, err.Error(), fine+"Interfaces")
	}
	var ce *ConfigError
	require.ErrorAs(t, err, &ce)
	require.Equal(t, before, a.assignments)
	require.Empty(t, a.changed)

	// None at all is a list, too.
	require.NoError(t, a.Set(nil))
	require.NotNil(t, a.assignments)
	require.Empty(t, a.assignments)
}

// An address of link scope is one of an interface.
func TestLinkLocal(t *testing.T) {
	for _, bind := range []Bind{Interface, None} {
		require.NoError(t, Validate([]Assignment{{Addr: addr("fe80::1"), Interfaces: []string{"eth0"}}}, bind))
		require.ErrorContains(t, Validate([]Assignment{{Addr: addr("fe80::1")}}, bind), "[0].Interfaces: missing: fe80::1 belongs to an interface")
	}
	// IPv4 ones are like any other.
	require.NoError(t, Validate([]Assignment{{Addr: addr("169.254.1.1")}}, Loopback))
}

// Five repeats over some seconds, each later than the one before, then refreshes
// that are spread by a quarter around their period.
func TestAnnounceAfter(t *testing.T) {
	var sum, before time.Duration
	for n := 1; n <= 5; n++ {
		after := announceAfter(n, time.Hour, 0.5)
		require.Greater(t, after, before)
		before = after
		sum += after
	}
	require.Greater(t, sum, 2*time.Second)
	require.Less(t, sum, 10*time.Second)
	rapid.Check(t, func(t *rapid.T) {
		refresh := time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(t, "refresh"))
		spread := rapid.Float64Range(0, 0.9999).Draw(t, "spread")
		after := announceAfter(rapid.IntRange(6, 1e9).Draw(t, "n"), refresh, spread)
		require.GreaterOrEqual(t, after, refresh*3/4)
		require.LessOrEqual(t, after, refresh*5/4)
	})
}

func TestLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := New(Config{})
		require.NoError(t, err)
		require.True(t, a.leased(), "nobody renews it")
		a.Renew(time.Second)
		require.True(t, a.leased())
		time.Sleep(900 * time.Millisecond)
		require.True(t, a.leased())
		time.Sleep(101 * time.Millisecond)
		require.False(t, a.leased())
		a.Renew(time.Second)
		require.True(t, a.leased())
		a.Renew(-time.Millisecond)
		require.False(t, a.leased())
	})
}

func TestStrings(t *testing.T) {
	require.Equal(t, "standby probe answer mode 9", Standby.String()+" "+Probe.String()+" "+Answer.String()+" "+Mode(9).String())
	require.Equal(t, "loopback interface none bind 9", Loopback.String()+" "+Interface.String()+" "+None.String()+" "+Bind(9).String())
	for p := NoProblem; p <= NotBound; p++ {
		require.NotContains(t, p.String(), "problem ")
	}
	require.Equal(t, "problem 9", Problem(9).String())
}
