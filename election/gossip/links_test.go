package gossip

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

// pair returns the links of two engines, from and to, that do not know each other.
func pair(*election.Keys) (from, to *links) {
	now := uint64(time.Now().UnixNano())
	nowhere := func(string) (netip.AddrPort, bool) { return netip.AddrPort{}, false }
	from, to = newLinks(defaultCluster, "from", now, time.Now), newLinks(defaultCluster, "to", now, time.Now)
	from.located, to.located = nowhere, nowhere
	return from, to
}

// arrives takes a datagram, and returns what take does of it.
func (l *links) arrives(r *ring, b []byte, from netip.AddrPort) (news bool, why reason, reply []byte, to netip.AddrPort) {
	e, sealed, err := parseEnvelope(b, defaultCluster)
	if err != nil || e.receiver != l.self {
		return false, dropMalformed, nil, netip.AddrPort{}
	}
	s := r.find(e.ids[0])
	if s == nil {
		return false, dropKey, nil, netip.AddrPort{}
	}
	_, news, why, reply, to = l.take(&e, sealed, b, s, r, from)
	return news, why, reply, to
}

// answer takes a challenge, and returns what is sent again.
func (l *links) answer(r *ring, b []byte) (again [][]byte) {
	e, sealed, err := parseEnvelope(b, defaultCluster)
	if err != nil {
		return nil
	}
	data, _, why, _, _ := l.take(&e, sealed, b, r.find(e.ids[0]), r, simEndpoint(9))
	if why != taken {
		return nil
	}
	for _, s := range l.challenged(&e, data) {
		again = append(again, l.again(r, e.sender, &s))
	}
	return again
}

func TestFirstDatagramIsNotLost(t *testing.T) {
	for _, keys := range []*election.Keys{nil, keysOf("k")} {
		from, to := pair(keys)
		r, here, there := newRing(defaultCluster, keys), simEndpoint(0), simEndpoint(1)
		var sent [][]byte
		for range maxUnproven + 2 {
			sent = append(sent, from.datagram(r, kindEngine, "to", there, []byte("hello")))
		}
		last := sent[len(sent)-1]
		_, why, challenge, where := to.arrives(r, last, here)
		require.Equal(t, dropUnproven, why)
		require.Equal(t, here, where)
		require.LessOrEqual(t, len(challenge), len(last)+challengeSize, "no amplification")
		require.Empty(t, to.names, "a stranger makes no memory")
		require.Zero(t, to.proven("from"))

		again := from.answer(r, challenge)
		require.Len(t, again, maxUnproven)
		news, why, _, _ := to.arrives(r, again[0], here)
		require.Equal(t, taken, why)
		require.True(t, news)
		require.Equal(t, from.instance, to.proven("from"))
		for _, b := range again[1:] {
			news, why, _, _ = to.arrives(r, b, here)
			require.Equal(t, taken, why)
			require.False(t, news)
		}
		_, why, _, _ = to.arrives(r, from.datagram(r, kindEngine, "to", there, nil), simEndpoint(7))
		require.Equal(t, taken, why, "a host may send from several addresses")

		require.Empty(t, from.answer(r, challenge), "a challenge is answered once")
		_, why, _, _ = to.arrives(r, again[0], here)
		require.Equal(t, dropReplayed, why)
		for _, b := range sent {
			_, why, _, _ := to.arrives(r, b, here)
			require.Equal(t, dropUnproven, why, "they do not show the token")
		}
	}
}

func TestDatagramsThatAreChanged(t *testing.T) {
	for _, keys := range []*election.Keys{nil, keysOf("k", "l")} {
		from, to := pair(keys)
		other := newLinks(defaultCluster, "other", to.instance, time.Now)
		other.located = to.located
		r, here := newRing(defaultCluster, keys), simEndpoint(0)
		from.link("to", time.Now()).given = to.token("from", from.instance, here, time.Now())
		sent := from.datagram(r, kindEngine, "to", simEndpoint(1), []byte("hello"))
		for i := range sent {
			_, why, _, _ := to.arrives(r, sent[:i], here)
			require.NotEqual(t, taken, why, "cut at %d", i)
			for bit := range 8 {
				b := slices.Clone(sent)
				b[i] ^= 1 << bit
				_, why, _, _ := to.arrives(r, b, here)
				require.NotEqual(t, taken, why, "bit %d of byte %d", bit, i)
			}
		}
		for _, l := range []*links{from, other} {
			_, why, _, _ := l.arrives(r, sent, here)
			require.NotEqual(t, taken, why, "sent to another")
		}
		_, why, _, _ := to.arrives(newRing(defaultCluster, keysOf("x")), sent, here)
		require.Equal(t, dropKey, why)
		require.Empty(t, to.names)
		_, why, _, _ = to.arrives(r, sent, here)
		require.Equal(t, taken, why)
	}
}

// In the name of a live member nobody is believed who is not where it is.
func TestSpoofedInstance(t *testing.T) {
	member, to := pair(nil)
	r, home, away := newRing(defaultCluster, nil), simEndpoint(0), simEndpoint(66)
	member.link("to", time.Now()).given = to.token("from", member.instance, home, time.Now())
	_, why, _, _ := to.arrives(r, member.datagram(r, kindEngine, "to", simEndpoint(1), nil), home)
	require.Equal(t, taken, why)
	to.located = func(string) (netip.AddrPort, bool) { return home, true }

	spoof, _ := pair(nil)
	spoof.instance = uint64(time.Now().Add(ahead - time.Minute).UnixNano())
	sent := spoof.datagram(r, kindEngine, "to", simEndpoint(1), nil)
	_, why, challenge, where := to.arrives(r, sent, away)
	require.Equal(t, dropUnproven, why)
	require.Equal(t, home, where, "the challenge goes to the member")
	require.Empty(t, member.answer(r, challenge), "which has not sent that")
	// Even one that overhears the challenge is not believed at its own where.
	token := to.token("from", spoof.instance, away, time.Now())
	spoof.link("to", time.Now()).given = token
	_, why, _, _ = to.arrives(r, spoof.datagram(r, kindEngine, "to", simEndpoint(1), nil), away)
	require.Equal(t, dropUnproven, why)
	_, why, _, _ = to.arrives(r, member.datagram(r, kindEngine, "to", simEndpoint(1), nil), home)
	require.Equal(t, taken, why, "the member still counts")

	spoof.instance = uint64(time.Now().Add(ahead + time.Minute).UnixNano())
	clear(spoof.seal)
	_, why, _, _ = to.arrives(r, spoof.datagram(r, kindEngine, "to", simEndpoint(1), nil), home)
	require.Equal(t, dropFuture, why)

	// Nor with the member's own instance, without the token.
	spoof.instance = member.instance
	clear(spoof.seal)
	spoof.counter = 1 << 62
	_, why, _, where = to.arrives(r, spoof.datagram(r, kindEngine, "to", simEndpoint(1), nil), away)
	require.Equal(t, dropUnproven, why)
	require.Equal(t, home, where)
	_, why, _, _ = to.arrives(r, member.datagram(r, kindEngine, "to", simEndpoint(1), nil), home)
	require.Equal(t, taken, why)

	// On streams alike.
	for instance, want := range map[uint64]standing{
		member.instance - 1: outdated,
		member.instance:     contested,
		member.instance + 1: contested,
		uint64(time.Now().Add(ahead + time.Minute).UnixNano()): future,
	} {
		_, s := to.classify(&head{sender: "from", instance: instance}, away.Addr(), false, [tokenSize]byte{})
		require.Equal(t, want, s)
	}
	for _, source := range []netip.AddrPort{home, away} {
		_, s := to.classify(&head{sender: "from", instance: member.instance}, source.Addr(), false, member.names["to"].given)
		require.Equal(t, fine, s, "a host may dial from several addresses")
	}
	_, s := to.classify(&head{sender: "from", instance: member.instance + 1}, home.Addr(), false, [tokenSize]byte{})
	require.Equal(t, fine, s, "it starts again")
}

func TestChallengesAreBounded(t *testing.T) {
	from, to := pair(nil)
	r := newRing(defaultCluster, nil)
	count := func(source netip.AddrPort) (challenges int) {
		for range 3 * challengesPerSecond {
			_, _, c, _ := to.arrives(r, from.datagram(r, kindEngine, "to", simEndpoint(1), nil), source)
			if c != nil {
				challenges++
			}
		}
		return challenges
	}
	to.began = time.Now() // so that the second is a whole one
	require.Equal(t, challengesPerSecond, count(simEndpoint(0)))
	require.Equal(t, challengesPerSecond, count(simEndpoint(1)))
	for i := range 2 * maxSources {
		to.arrives(r, from.datagram(r, kindEngine, "to", simEndpoint(1), nil), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 1))
	}
	require.LessOrEqual(t, len(to.sources), maxSources)
}

func TestNamesAreBounded(t *testing.T) {
	_, to := pair(nil)
	to.located = func(name string) (netip.AddrPort, bool) { return simEndpoint(0), name == "m0" }
	for i := range 2 * maxLinks {
		to.noteProven(&greeting{head: head{sender: fmt.Sprint("m", i), instance: 1}}, simAddr(0), token{1}, token{2})
	}
	require.Len(t, to.names, maxLinks)
	require.NotZero(t, to.proven("m0"), "a live member is not forgotten")
	require.NotZero(t, to.proven(fmt.Sprint("m", 2*maxLinks-1)))
}

func TestWindow(t *testing.T) {
	k := new(link)
	for _, c := range []uint64{5000, 5001, 5003, 5000 + window, 7000, 7000 - window + 1} {
		require.False(t, k.repeated(c), c)
		k.note(c)
		require.True(t, k.repeated(c), c)
	}
	require.True(t, k.repeated(7000-window), "too old")
	require.False(t, k.repeated(6999))
	require.False(t, k.repeated(7000-window+2))
	k.note(1<<64 - 1)
	require.True(t, k.repeated(7000))
	require.False(t, k.repeated(1<<64-2))
}

func TestRotatedKeysAreChosen(t *testing.T) {
	ring := func(secrets ...string) *ring { return newRing(defaultCluster, keysOf(secrets...)) }
	id := func(secret string) keyID { return ring(secret).secrets[0].id }
	for _, c := range []struct {
		ours   []string
		theirs []string
		want   string
	}{
		{[]string{"old"}, []string{"old"}, "old"},
		{[]string{"old", "new"}, []string{"old"}, "old"},
		{[]string{"new", "old"}, []string{"old"}, "old"},
		{[]string{"new", "old"}, []string{"old", "new"}, "new"},
		{[]string{"old", "new"}, []string{"new"}, "new"},
	} {
		theirs := ring(c.theirs...)
		s := ring(c.ours...).choose(theirs.ids(&theirs.secrets[0]))
		require.NotNil(t, s)
		require.Equal(t, id(c.want), s.id)
	}
	require.Nil(t, ring("new").choose([]keyID{id("old")}))
	require.Equal(t, []keyID{id("b"), id("a"), id("c")}, ring("a", "b", "c").ids(ring("a", "b", "c").find(id("b"))))
}
