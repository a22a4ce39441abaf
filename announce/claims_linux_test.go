package announce

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// framesOf is how many frames an announcement is.
func framesOf(a netip.Addr) int {
	if a.Is4() {
		return 2
	}
	return 1
}

// However slow the pace: the first announcement of every address is sent before
// the second of any, nothing is lost, and the pace is kept.
func TestPaceOfManyAnnouncements(t *testing.T) {
	const burst, rate, n, ports = 16, 400, 150, 2
	addrs := append(addresses("10.0.0.1", n), addresses("2001:db8::1", n)...)
	s := newSimulation(t, Config{Burst: burst, Rate: rate, Refresh: time.Hour, RivalProbe: time.Hour}, ports, addrs...)
	all := s.run(time.Minute)
	announced := make(map[netip.Addr]int)
	frames, announcements := 0, 0.0
	for i := range all {
		a := all[i].target
		require.False(t, all[i].isProbe())
		if frames++; announced[a] == ports*framesOf(a) {
			require.Len(t, announced, len(addrs), "a second one")
		}
		announced[a]++
		announcements += 1 / float64(framesOf(a))
		require.LessOrEqual(t, announcements, burst+rate*all[i].after.Seconds()+ports)
	}
	for _, a := range addrs {
		require.Equal(t, ports*framesOf(a)*(1+len(repeats)), announced[a], a)
	}
	require.EqualValues(t, frames, s.Stats().Announced)

	// Nor is anything lost when it comes again meanwhile.
	again := slices.Clone(s.assigned)
	for i := range again {
		again[i].Claim++
	}
	s.set(again)
	all = s.run(100 * time.Millisecond)
	require.Less(t, len(all), 2*ports*(burst+rate/5))
	s.set(s.assigned)
	all = append(all, s.run(time.Minute)...)
	require.Len(t, all, frames)
}

// A pace is no reason to be slower than it says.
func TestPaceIsUsed(t *testing.T) {
	const rate = 100
	s := newSimulation(t, Config{Burst: 1, Rate: rate, Refresh: time.Hour, RivalProbe: time.Hour}, 1, addresses("2001:db8::1", 500)...)
	require.InDelta(t, 10*rate, len(s.run(10*time.Second)), 1)
}

// The refreshes of 10,000 addresses that were claimed at once, and the probes for
// their rivals, are spread: no second has much more than its share.
func TestRefreshesAndProbesAreSpread(t *testing.T) {
	const n = 10000
	s := newSimulation(t, Config{}, 1, addresses("2001:db8::1", n)...)
	s.run(10 * time.Second) // the first ones and their repeats
	var refreshes, probes [70]int
	for _, f := range s.run(70 * time.Second) {
		second := min(int(f.after/time.Second)-10, len(probes)-1)
		if f.isProbe() {
			probes[second]++
		} else {
			refreshes[second]++
		}
	}
	require.LessOrEqual(t, slices.Max(refreshes[:]), 3*n/int(DefaultRefresh/time.Second))
	// Each is due within a quarter of the period.
	require.LessOrEqual(t, slices.Max(probes[:]), 5*n/int(DefaultRivalProbe/time.Second))
	require.LessOrEqual(t, slices.Max(probes[50:]), 3*n/int(DefaultRivalProbe/time.Second))
}

// An address that is held is probed for at least each RivalProbe, and with each
// refresh; nothing is ever learned from such a probe.
func TestRivalsAreProbedFor(t *testing.T) {
	for name, c := range map[string]Config{
		"default":         {},
		"often":           {RivalProbe: 2 * time.Second},
		"refreshes alone": {RivalProbe: time.Hour, Refresh: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			addrs := append(addresses("10.0.0.1", 5), addresses("2001:db8::1", 5)...)
			s := newSimulation(t, c, 1, addrs...)
			all := s.run(10 * time.Minute)
			for _, a := range addrs {
				var announced, probed []time.Duration
				for _, f := range all {
					if f.target != a {
						continue
					}
					if f.isProbe() {
						probed = append(probed, f.after)
					} else {
						announced = append(announced, f.after)
					}
				}
				require.NotEmpty(t, probed)
				refreshes := slices.Compact(announced)[1+len(repeats):]
				require.NotEmpty(t, refreshes)
				for _, at := range refreshes {
					require.Contains(t, probed, at)
				}
				before := announced[0]
				for _, at := range append(probed, s.now.Sub(s.started)) {
					require.LessOrEqual(t, at-before, s.config.RivalProbe)
					before = at
				}
			}
			require.EqualValues(t, len(all), s.Stats().Announced+s.Stats().Probes)
		})
	}
}

// Without the lease nothing is sent; what was due meanwhile is not made up for.
func TestNothingIsSentWithoutTheLease(t *testing.T) {
	s := newSimulation(t, Config{}, 1, addr("10.0.0.1"), addr("2001:db8::1"))
	s.Renew(-time.Second)
	require.Empty(t, s.run(time.Minute))
	s.Renew(time.Hour)
	announced := 6*2 + 6
	probed := func(all []sent) int {
		return len(slices.DeleteFunc(slices.Clone(all), func(f sent) bool { return !f.isProbe() }))
	}
	all := s.run(30 * time.Second)
	require.Len(t, all, announced+probed(all))
	require.NotZero(t, probed(all))
	s.Renew(-time.Second)
	require.Empty(t, s.run(10*time.Minute))
	s.Renew(time.Hour)
	require.LessOrEqual(t, len(s.run(time.Second)), 3+2) // a refresh of each at most, with its probe
}

// A new Defense is one announcement, and changes nothing about those to come.
func TestDefense(t *testing.T) {
	for _, a := range []netip.Addr{addr("10.0.0.1"), addr("2001:db8::1")} {
		t.Run(a.String(), func(t *testing.T) {
			s := newSimulation(t, Config{}, 1, a)
			defend := func() { s.change(0, func(a *Assignment) { a.Defense++ }) }
			for _, pause := range []time.Duration{time.Millisecond, 500 * time.Millisecond, time.Minute} {
				s.run(pause)
				c := *s.claims[a]
				defend()
				got := s.run(0)
				require.Len(t, got, framesOf(a))
				for _, f := range got {
					require.False(t, f.question)
					require.Equal(t, a, f.target)
				}
				now := s.claims[a]
				require.Equal(t, c.sent, now.sent)
				require.Equal(t, c.announceAt, now.announceAt)
				require.Equal(t, c.probeAt, now.probeAt)
				require.Equal(t, c.due, now.due)
			}

			s.set(s.assigned) // the same
			require.Empty(t, s.run(0))

			s.Renew(-time.Second)
			defend()
			require.Empty(t, s.run(0))
			s.Renew(time.Hour)
			require.Empty(t, s.run(0), "it was due without the lease")

			s.change(0, func(a *Assignment) { a.Mode = Standby })
			defend()
			require.Empty(t, s.run(time.Hour))

			s.change(0, func(a *Assignment) { a.Mode = Probe })
			require.Len(t, s.run(time.Second), probeNum)
			require.Equal(t, Clear, s.claims[a].probe)
			defend()
			require.Empty(t, s.run(time.Hour))
			require.Equal(t, Clear, s.claims[a].probe)

			// With a new mode or claim it is announced anyway, and once.
			s.change(0, func(a *Assignment) { a.Mode = Answer; a.Defense++ })
			require.Len(t, s.run(0), framesOf(a))
			s.change(0, func(a *Assignment) { a.Claim++; a.Defense++ })
			require.Len(t, s.run(0), framesOf(a))
			s.change(0, func(a *Assignment) { a.Claim++ })
			defend()
			require.Len(t, s.run(0), framesOf(a))
			require.Equal(t, 1, s.claims[a].sent, "its repeats follow")
		})
	}
}

// claimFrame is a claim of another station.
func claimFrame(t require.TestingT, a netip.Addr, hw hardwareAddr) []byte {
	frames, err := announcement(a, hw, false)
	require.NoError(t, err)
	return frames[0]
}

// portOf returns the port that hears of the address.
func (s *simulation) portOf(a netip.Addr) int {
	return slices.IndexFunc(s.ports, func(p *port) bool { return p.v6 == a.Is6() })
}

// turn is what Run's loop does about sightings, and reports whether there is
// something to report.
func (s *simulation) turn() bool {
	s.onTime(s.now)
	s.takeSightings(s.now)
	defer func() { s.changes = false }()
	return s.changes
}

// The first sighting is reported at once, then one a second.
func TestSightingsAreReportedOnceASecond(t *testing.T) {
	for _, a := range []netip.Addr{addr("10.0.0.1"), addr("2001:db8::1")} {
		t.Run(a.String(), func(t *testing.T) {
			s := newSimulation(t, Config{}, 1, a)
			rival := hardwareAddr{2, 9}
			var reports []time.Duration
			var n uint64
			for s.now.Before(s.started.Add(10 * time.Second)) {
				for range 3 {
					s.hear(s.portOf(a), claimFrame(t, a, rival))
					n++
				}
				if s.turn() {
					reports = append(reports, s.now.Sub(s.started))
					fact := s.facts().Addresses[0]
					require.Equal(t, n, fact.Sightings)
					require.EqualValues(t, rival[:], fact.Rival)
				}
				s.now = s.now.Add(sightingsEvery)
			}
			require.Len(t, reports, 10)
			require.Zero(t, reports[0])
			for i := range reports[1:] {
				require.GreaterOrEqual(t, reports[i+1]-reports[i], sightedEvery)
			}
			// The last ones are not left out.
			s.now = s.now.Add(sightedEvery)
			require.True(t, s.turn())
			s.now = s.now.Add(time.Hour)
			require.False(t, s.turn())
			require.Equal(t, n, s.facts().Addresses[0].Sightings)
			require.Equal(t, n, s.Stats().Sightings)

			// A new claim or mode begins anew, but for the count.
			for _, change := range []func(a *Assignment){
				func(a *Assignment) { a.Claim++ }, func(a *Assignment) { a.Mode = Probe },
			} {
				s.change(0, change)
				require.Nil(t, s.facts().Addresses[0].Rival)
				require.Equal(t, n, s.facts().Addresses[0].Sightings)
				s.hear(s.portOf(a), claimFrame(t, a, hardwareAddr{2, 8}))
				n++
				require.True(t, s.turn(), "at once")
				require.EqualValues(t, []byte{2, 8, 0, 0, 0, 0}, s.facts().Addresses[0].Rival)
				require.Equal(t, n, s.facts().Addresses[0].Sightings)
			}
			require.Equal(t, Conflict, s.facts().Addresses[0].Probe)
			s.change(0, func(a *Assignment) { a.Defense++ })
			require.NotNil(t, s.facts().Addresses[0].Rival, "a defense is no new claim")
		})
	}
}

// Whoever claims what and when: no sighting waits for longer than a second to be
// reported, and there are not more reports than one a second for each address.
func TestSightingsOfSeveralAddresses(t *testing.T) {
	addrs := addresses("10.0.0.1", 3)
	rapid.Check(t, func(rt *rapid.T) {
		s := newSimulation(t, Config{}, 1, addrs...)
		var waiting [3]time.Duration // since when; -1 if nothing does
		var reports []time.Duration
		for i := range waiting {
			waiting[i] = -1
		}
		for range rapid.IntRange(1, 100).Draw(rt, "steps") {
			if i := rapid.IntRange(-1, 2).Draw(rt, "claimed"); i >= 0 {
				s.hear(0, claimFrame(rt, addrs[i], hardwareAddr{2, 9}))
				if waiting[i] < 0 {
					waiting[i] = s.now.Sub(s.started)
				}
			}
			end := s.now.Add(time.Duration(rapid.IntRange(0, 1500).Draw(rt, "pause")) * time.Millisecond)
			for {
				if s.turn() {
					reports = append(reports, s.now.Sub(s.started))
					for i := range waiting {
						waiting[i] = -1
					}
				}
				for i, since := range waiting {
					require.False(rt, since >= 0 && s.now.Sub(s.started) > since+sightedEvery, "address %d", i)
				}
				if s.sightAt.IsZero() || s.sightAt.After(end) {
					s.now = end
					break
				}
				s.now = s.sightAt
			}
		}
		for i := range reports {
			if i+len(addrs) < len(reports) {
				require.GreaterOrEqual(rt, reports[i+len(addrs)]-reports[i], sightedEvery)
			}
		}
	})
}
