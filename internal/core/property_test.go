package core_test

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/core"
)

// someAddresses are those of the generated tables.
var someAddresses = []core.Address{
	{Addr: netip.MustParseAddr("192.168.122.100"), Service: "web", Selected: true, Interfaces: []string{"eth0"}},
	{Addr: netip.MustParseAddr("192.168.122.101"), Service: "mail", Selected: true, Interfaces: []string{"eth1"}, Weight: 1, Automatic: true},
	{Addr: netip.MustParseAddr("fd00::1"), Service: "web", Selected: true},
}

// mostly generates a common value, and others in a fifth of all cases.
func mostly[T any](t *rapid.T, label string, common T, others ...T) T {
	return rapid.SampledFrom(append([]T{common, common, common, common}, others...)).Draw(t, label)
}

// anAddr generates one of the stations around.
func anAddr(t *rapid.T) net.HardwareAddr {
	hw := rapid.SampledFrom([]election.HardwareAddr{stranger, station("b", 1), station("c", 2)}).Draw(t, "station")
	return mostly(t, "hardware", net.HardwareAddr(hw[:]), nil, net.HardwareAddr{1, 2})
}

// aTable generates a table; tables keeps those that were generated.
func aTable(t *rapid.T) *core.Table {
	table := &core.Table{Digest: rapid.Uint64Range(0, 1).Draw(t, "digest")}
	for _, a := range someAddresses {
		if mostly(t, "configured", true, false) {
			a.Selected = mostly(t, "selected", true, false)
			a.NoneLeft = mostly(t, "none left", false, true)
			table.Addresses = append(table.Addresses, a)
		}
	}
	return table
}

// someFacts generates what the announcer tells: mostly what it was told before.
func someFacts(t *rapid.T, table *core.Table, out *core.Output) *announce.Facts {
	if !mostly(t, "announcer", true, false) {
		return nil
	}
	facts := new(announce.Facts)
	for i, name := range []string{"eth0", "eth1"} {
		hw := station("a", i+1)
		facts.Links = append(facts.Links, announce.Link{
			Name: name, Index: i + 1, HardwareAddr: net.HardwareAddr(hw[:]),
			Silent: mostly(t, "silent", false, true), Problem: mostly(t, "down", "", "down"),
		})
	}
	for i := range table.Addresses {
		a := &table.Addresses[i]
		f := announce.Address{
			Addr: a.Addr, Mode: rapid.SampledFrom([]announce.Mode{announce.Standby, announce.Probe, announce.Answer}).Draw(t, "mode"),
			Claim: rapid.Uint64Range(0, 3).Draw(t, "claim"), Rival: anAddr(t), Sightings: rapid.Uint64Range(0, 5).Draw(t, "sightings"),
			Probe:   rapid.SampledFrom([]announce.ProbeResult{announce.Unknown, announce.Clear, announce.Conflict}).Draw(t, "probe"),
			Problem: mostly(t, "problem", announce.NoProblem, announce.LinkDown, announce.NotBound, announce.NoInterface),
		}
		if at := slices.IndexFunc(out.Assignments, func(s announce.Assignment) bool { return s.Addr == a.Addr }); at >= 0 && mostly(t, "echo", true, false) {
			f.Mode, f.Claim = out.Assignments[at].Mode, out.Assignments[at].Claim
		}
		for _, l := range facts.Links {
			if l.Problem == "" && f.Problem == announce.NoProblem && (len(a.Interfaces) == 0 || slices.Contains(a.Interfaces, l.Name)) {
				f.Links = append(f.Links, l.Name)
			}
		}
		if f.Problem == announce.NoProblem && len(f.Links) == 0 {
			f.Problem = announce.LinkDown
		}
		if f.Mode == announce.Answer && rapid.Bool().Draw(t, "announced") {
			f.Announced = epochTime.Add(time.Duration(f.Claim))
		}
		if mostly(t, "applied", true, false) {
			facts.Addresses = append(facts.Addresses, f)
		}
	}
	return facts
}

// anOffer generates what a member says of itself.
func anOffer(t *rapid.T, node string) election.Offer {
	o := election.Offer{
		Node: node, Instance: rapid.Uint64Range(90, 91).Draw(t, "instance"), Revision: rapid.Uint64Range(1, 3).Draw(t, "revision"),
		Members: rapid.Uint32Range(1, 4).Draw(t, "members"), Config: rapid.Uint64Range(0, 1).Draw(t, "config"),
	}
	for _, a := range someAddresses {
		if mostly(t, "has it", true, false) {
			o.Entries = append(o.Entries, election.Entry{
				Addr: a.Addr, Service: mostly(t, "service", a.Service, "other"),
				Reason: mostly(t, "reason", election.Offered, election.NotReady, election.Joining, election.Disputed, election.Reason(77)),
				Weight: rapid.Uint32Range(0, 2).Draw(t, "weight"), Settled: rapid.Bool().Draw(t, "settled"),
				Holds: rapid.Bool().Draw(t, "holds"), Isolated: mostly(t, "isolated", false, true),
				Term: mostly(t, "term", rapid.Uint64Range(0, 4).Draw(t, "small term"), 1<<63),
				From: mostly(t, "from", "", "a", "b", "c"),
			})
		}
	}
	return o
}

// aReport generates what the segment tells.
func aReport(t *rapid.T, out *core.Output) (r segment.Report) {
	for i := 1; i <= 2; i++ {
		if mostly(t, "open", true, false) {
			r.Links = append(r.Links, segment.LinkReport{
				Index: i, Isolated: mostly(t, "link isolated", false, true),
				Stations: rapid.Bool().Draw(t, "stations"), Unheard: mostly(t, "link unheard", false, true),
			})
		}
	}
	for _, node := range []string{"b", "c"} {
		if !mostly(t, "heard", true, false) {
			continue
		}
		o := anOffer(t, node)
		p := segment.Peer{
			Node: node, Instance: mostly(t, "its instance", o.Instance, 91), Revision: o.Revision + mostly[uint64](t, "ahead", 0, 1),
			HoldsAsOffered: rapid.Bool().Draw(t, "holds as offered"), HoldsNothing: mostly(t, "holds nothing", false, true),
			Fenced: mostly(t, "fenced", false, true), Epoch: rapid.SampledFrom([]uint64{0, out.Epoch}).Draw(t, "epoch"),
		}
		if mostly(t, "offer is known", true, false) {
			p.Offer = &o
		}
		for i := 1; i <= 2; i++ {
			if mostly(t, "row", true, false) {
				p.Rows = append(p.Rows, segment.Row{
					Link: i, State: mostly(t, "state", segment.Up, segment.Suspect, segment.Stalled, segment.Ended, segment.Unreachable, segment.Left),
					HardwareAddr: station(node, i), Leased: rapid.Bool().Draw(t, "leased"), Isolated: mostly(t, "row isolated", false, true),
				})
			}
		}
		r.Peers = append(r.Peers, p)
	}
	if mostly(t, "no namesake", true, false) {
		return r
	}
	r.Namesakes = append(r.Namesakes, segment.Namesake{
		Node: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "namesake"), Instance: rapid.SampledFrom([]uint64{50, 150}).Draw(t, "its start"), HardwareAddr: station("z", 1),
	})
	return r
}

// aMembership generates what the membership tells.
func aMembership(t *rapid.T) *election.Membership {
	if rapid.Bool().Draw(t, "no membership") {
		return nil
	}
	m := new(election.Membership)
	for _, node := range []string{"a", "b", "c", "d"} {
		switch rapid.IntRange(0, 3).Draw(t, "in the membership") {
		case 0:
			m.Offers = append(m.Offers, election.Offer{Node: node})
		case 1:
			m.Offers = append(m.Offers, anOffer(t, node))
		}
	}
	return m
}

// someSettings generates the settings of a node.
func someSettings(t *rapid.T) *core.Settings {
	return &core.Settings{
		Name: "a", Instance: 100, MinMembers: mostly(t, "quorum", 0, 2),
		Failback: mostly(t, "failback", 0, time.Second), StartHold: mostly(t, "start hold", 500*time.Millisecond, 0),
		HandoverTimeout: mostly(t, "hand-over timeout", 500*time.Millisecond, 0),
		Detection:       mostly(t, "detection", 280*time.Millisecond, 0), Lease: time.Second,
		Yield: mostly(t, "yield", false, true), KernelAnswers: mostly(t, "kernel answers", false, true),
		Alone: mostly(t, "alone", false, true),
	}
}

// TestStepOfAnything feeds inputs that have little to do with each other, and holds
// the rules that no input may break.
func TestStepOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		settings := someSettings(t)
		tables := []*core.Table{aTable(t), aTable(t)}
		state, out := new(core.State), core.Output{}
		now := epoch
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			now += rapid.SampledFrom([]time.Duration{0, time.Millisecond, 200 * time.Millisecond, time.Second, 40 * time.Second}).Draw(t, "pause")
			if out.Deadline > 0 && rapid.Bool().Draw(t, "deadline") {
				now = max(now, out.Deadline)
			}
			table := mostly(t, "table", tables[0], tables[1])
			in := core.Input{
				Now: now, Settings: settings, Table: table, Facts: someFacts(t, table, &out), Segment: aReport(t, &out), Membership: aMembership(t),
				Health: map[string]health.State{
					"web":  {Ready: mostly(t, "web", true, false), Score: rapid.IntRange(-1, 1).Draw(t, "score")},
					"mail": {Ready: mostly(t, "mail", true, false)},
				},
				Synced: rapid.SampledFrom([]time.Duration{0, now}).Draw(t, "synced"), LeaseLost: mostly(t, "lease lost", false, true), Draining: mostly(t, "draining", false, true),
			}
			state, out = checkedStep(t, state, in)
		}
	})
}

// TestStepOfStories lets things happen by chance that make sense together.
func TestStepOfStories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.step = func(before *core.State, in core.Input) (*core.State, core.Output) { return checkedStep(t, before, in) }
		happen := func(format string, args ...any) {
			line := fmt.Sprintf(format, args...)
			require.NoError(t, w.happen(line), line)
		}
		if setting := rapid.SampledFrom([]string{"", "node alone", "node yields", "node min members 2", "node failback 2s", "node kernel answers"}).Draw(t, "setting"); setting != "" {
			happen("%s", setting)
		}
		happen("address vip on eth0")
		happen("address vop on eth1 for mail")
		pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
		member := func() string { return pick("member", "b", "c") }
		link := func() string { return pick("link", "eth0", "eth1") }
		addr := func() string { return pick("address", "vip", "vop") }
		for _, m := range []string{"b", "c"} {
			if rapid.Bool().Draw(t, m+" is there") {
				happen("%s beats", m)
				happen("%s tells all: offers", m)
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "moments") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1:
				happen("%s pass", pick("pause", "1ms", "100ms", "500ms", "2s", "15s"))
			case 2, 3:
				happen("%s probe is clear", addr())
			case 4:
				by := pick("by", "stranger", "b", "c")
				happen("%s %s %s", addr(), pick("wire", "probe meets", "is claimed by"), by)
			case 5:
				happen("%s %s", link(), pick("link does", "goes down", "comes up", "is isolated", "is isolated, though there are stations", "is isolated no more", "is unheard", "is heard", "is silent", "is silent no more"))
			case 6:
				happen("%s %s on %s%s", member(), pick("member does", "beats", "beats", "pauses", "stalls", "ends", "leaves", "vanishes"), link(), pick("and", "", "", ", leased", ", isolated"))
			case 7:
				m := member()
				if w.members[m] == nil || w.members[m].peer == nil {
					continue
				}
				happen("%s %s", m, pick("member is", "is fenced", "is fenced no more", "announces a newer offer", "announces a newer offer, holding something", "restarts", "is in the membership", "is dead to the membership"))
			case 8:
				happen("%s tells %s: %s, term %d, weight %d, saw %d%s", member(), pick("of", "vip", "vop", "all"), pick("offer", "offers", "offers, holds", "is service not ready", "is draining, holds"),
					rapid.IntRange(0, 5).Draw(t, "term"), rapid.IntRange(0, 2).Draw(t, "weight"), rapid.IntRange(1, 3).Draw(t, "saw"), pick("more", "", ", settled", ", from a", ", isolated"))
			case 9:
				happen("%s", pick("node", "drain", "undrain", "lease lost", "exchange is done", "web is not ready", "web is ready", "mail is not ready", "mail is ready", "another a, started earlier", "no other"))
			}
			require.NoError(t, w.settle(), "%s", strings.Join(w.log, "\n"))
		}
	})
}

// checkedStep steps, and holds the rules that every step keeps.
func checkedStep(t *rapid.T, before *core.State, in core.Input) (*core.State, core.Output) {
	given := clone(reflect.ValueOf(in)).Interface().(core.Input)
	given.Table = in.Table // it is known by its pointer
	table := clone(reflect.ValueOf(*in.Table)).Interface()
	addresses := slices.Clone(before.Addresses)
	offer := clone(reflect.ValueOf(before.Offer)).Interface()

	after, out := core.Step(before, in)

	// Nothing that was given is changed, and the same follows from the same.
	require.Equal(t, given, in)
	require.Equal(t, table, *in.Table)
	require.Equal(t, addresses, before.Addresses)
	require.Equal(t, offer, before.Offer)
	same, again := core.Step(before, given)
	require.Equal(t, out, again)
	require.Equal(t, after.Addresses, same.Addresses)
	require.True(t, reflect.DeepEqual(after, same))

	checkMoves(t, before, after, &out)
	checkHeld(t, &in, after, &out)
	checkClaims(t, &in, &out)

	require.Len(t, core.Details(after, in), len(in.Table.Addresses))

	if out.Deadline != 0 {
		require.Greater(t, out.Deadline, in.Now, "the deadline is to come")
	}
	require.Equal(t, before.Fence() != core.Valid && after.Fence() == core.Valid, out.Resynced)
	require.False(t, out.Sync && after.Fence() == core.Valid && (in.Settings.Detection > 0 || in.Membership == nil), "an exchange is wanted to resync, or where the membership alone tells what happened while a link was down")
	changed := !out.Offer.Equal(&before.Offer)
	require.Equal(t, changed || before.Offer.Revision == 0, out.Offer.Revision > before.Offer.Revision, "a revision for each offer")

	// What is known does not change, so after a few steps nothing does.
	in.LeaseLost = false
	settled := after
	for range 4 {
		next, _ := core.Step(settled, in)
		if reflect.DeepEqual(next, settled) {
			return after, out
		}
		settled = next
	}
	next, more := core.Step(settled, in)
	require.Equal(t, settled.Offer, next.Offer, "%+v", more.Transitions)
	require.Equal(t, settled.Addresses, next.Addresses, "%+v", more.Transitions)
	require.Fail(t, "nothing settles", "%+v", more.Transitions)
	return after, out
}

// checkMoves checks that each change of a phase was told, in the order of the
// machine.
func checkMoves(t *rapid.T, before, after *core.State, out *core.Output) {
	phases := make(map[netip.Addr]core.Phase)
	if before.Table != nil {
		for i := range before.Table.Addresses {
			a := &before.Table.Addresses[i]
			kept := slices.ContainsFunc(after.Table.Addresses, func(b core.Address) bool { return b.Addr == a.Addr && b.Service == a.Service })
			if kept {
				phases[a.Addr] = before.Addresses[i].Phase
			}
		}
	}
	arrows := map[core.Phase][]core.Phase{
		core.Standby:   {core.Probing, core.Holding},
		core.Probing:   {core.Holding, core.Disputed, core.Backoff, core.Standby},
		core.Holding:   {core.Releasing, core.Standby, core.Disputed},
		core.Releasing: {core.Holding, core.Standby},
		core.Disputed:  {core.Standby},
		core.Backoff:   {core.Standby, core.Holding},
	}
	for i := range out.Transitions {
		tr := &out.Transitions[i]
		if tr.Kind != core.Moved {
			continue
		}
		require.Equal(t, phases[tr.Addr], tr.From, "%v", tr.Addr)
		require.Contains(t, arrows[tr.From], tr.To)
		require.NotEmpty(t, tr.Cause)
		phases[tr.Addr] = tr.To
	}
	for i := range after.Table.Addresses {
		require.Equal(t, after.Addresses[i].Phase, phases[after.Table.Addresses[i].Addr], "told: %+v", out.Transitions)
	}
}

// checkHeld checks that what the node answers for is what it says that it holds, and
// that it answers for nothing that no client can reach.
func checkHeld(t *rapid.T, in *core.Input, after *core.State, out *core.Output) {
	answers := make(map[netip.Addr]bool)
	for _, a := range out.Assignments {
		if a.Mode == announce.Answer {
			answers[a.Addr] = true
		}
		require.False(t, a.Quiet && a.Mode != announce.Answer, "what is not answered is not quiet")
	}
	require.Len(t, answers, out.Held)
	for i := range out.Offer.Entries {
		e, st := &out.Offer.Entries[i], &after.Addresses[i]
		require.Equal(t, answers[e.Addr], e.Holds, "%v is %v", e.Addr, st.Phase)
		require.Equal(t, st.Answers(), e.Holds)
		if e.Holds {
			require.NotContains(t, []election.Reason{election.LinkDown, election.NoInterface, election.Unheard, election.Damped}, e.Reason, "%v", e.Addr)
			require.NotZero(t, e.Term)
		} else {
			require.Equal(t, core.Claim{}, st.Claim, "a claim ends with it")
			require.Empty(t, e.From)
			require.False(t, e.Isolated)
		}
	}
	require.Equal(t, in.Settings.Name, out.Offer.Node)
	require.Len(t, out.Offer.Entries, len(in.Table.Addresses))
}

// checkClaims checks that nothing is claimed that a live member holds as a candidate,
// but for what it is to hand over to a member that is settled.
func checkClaims(t *rapid.T, in *core.Input, out *core.Output) {
	for i := range out.Transitions {
		tr := &out.Transitions[i]
		if tr.Kind != core.Moved || tr.To != core.Holding || tr.From == core.Releasing || in.Settings.Failback > 0 {
			continue
		}
		var indexes []int
		for _, f := range in.Facts.Addresses {
			if f.Addr == tr.Addr {
				for _, l := range in.Facts.Links {
					if slices.Contains(f.Links, l.Name) {
						indexes = append(indexes, l.Index)
					}
				}
			}
		}
		for j := range in.Segment.Peers {
			p := &in.Segment.Peers[j]
			beats := slices.ContainsFunc(p.Rows, func(r segment.Row) bool {
				return slices.Contains(indexes, r.Link) && (r.State == segment.Up || r.State == segment.Suspect) && !r.Isolated
			})
			if p.Offer == nil || p.Offer.Instance != p.Instance || p.Offer.Revision != p.Revision || p.Fenced || !beats {
				continue
			}
			if in.Membership != nil && slices.ContainsFunc(in.Membership.Offers, func(o election.Offer) bool { return o.Node == p.Node && o.Instance == p.Instance && !p.Offer.Newer(&o) }) {
				continue
			}
			for _, e := range p.Offer.Entries {
				if e.Addr == tr.Addr {
					require.False(t, e.Holds && e.Reason == election.Offered && e.Service == tr.Service, "%s holds %v: %+v; %+v; %+v", p.Node, tr.Addr, in.Segment, p.Offer, in.Membership)
				}
			}
		}
	}
}

// clone returns a copy that shares nothing with v that its exported fields lead to.
func clone(v reflect.Value) reflect.Value {
	copied := reflect.New(v.Type()).Elem()
	copied.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			copied.Set(reflect.New(v.Type().Elem()))
			copied.Elem().Set(clone(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			copied.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				copied.Index(i).Set(clone(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			copied.Set(reflect.MakeMap(v.Type()))
			for _, key := range v.MapKeys() {
				copied.SetMapIndex(key, clone(v.MapIndex(key)))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				copied.Field(i).Set(clone(v.Field(i)))
			}
		}
	}
	return copied
}
