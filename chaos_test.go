package l2vip_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
)

var (
	chaosSeeds  = flag.Uint64("chaos.seeds", 6, "how many seeds TestChaos runs")
	chaosFirst  = flag.Uint64("chaos.first", 1, "the first of them")
	chaosEvents = flag.Int("chaos.events", 30, "events for each seed")
)

// TestChaos lets clusters live through what a seeded generator thinks up, and
// checks what must hold.
//
// At every moment, on each side of a segment that is split:
//
//  1. no two nodes answer, but for as long as it takes to hear of each other;
//  2. a holder to which nothing was done, and which sees enough members, answers;
//  3. the highest term that a node tells never falls.
//
// And when nothing has happened for a while:
//
//  4. one node answers where one can: it is a candidate and sees enough members; a
//     node that hears no station at all may hold or not, no client asks it;
//  5. all members on a side see each other, the same holder and the same term;
//  6. the holder has announced last of all that clients hear.
//
// A seed gives the same cluster and about the same events; which goroutine runs
// first, and where memberlist gossips to, are not the seed's. So repeat:
//
//	go test -race -run TestChaos -chaos.first 42 -chaos.seeds 1 -count 20 .
func TestChaos(t *testing.T) {
	for seed := *chaosFirst; seed < *chaosFirst+*chaosSeeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) { newChaos(t, seed).run(*chaosEvents) })
		})
	}
}

const (
	// calm is how long everybody needs to agree after whatever happened.
	calm = 4 * time.Second
	// meet is how long those that return may take to find each other.
	meet = time.Second
	// loner is after how long a node that is alone is known to hear no station.
	loner = 4 * time.Second
	// counted is after how long a membership alone has missed all that are apart: it
	// does so one after the other, and some that claim meanwhile count too many.
	counted = time.Second
	// lately is what a holder means when it tells how many members it saw lately.
	lately = 12 * time.Second
	// dampedMost is after how long a link that has failed again and again counts again.
	dampedMost = 40 * time.Second
	// overlap is for how long a holder that is alive may still answer when its
	// successor does, and overlapLossy if datagrams are lost.
	overlap, overlapLossy = 20 * time.Millisecond, 1500 * time.Millisecond
)

// chaos is a cluster, what has happened to it, and what it looked like.
type chaos struct {
	*cluster
	dice       *rand.Rand
	seed       uint64
	began      time.Time
	minMembers int
	failback   time.Duration
	profile    l2vip.Profile
	history    []string

	dead      map[*node]bool
	failed    map[*node]bool
	apart     map[*node]time.Time // since when a node is not on side zero
	unplugged map[*node]time.Time // when a node's link was last without carrier
	missed    time.Time           // until when a holder may have seen one member fewer
	lossy     bool
	since     time.Time // when the last event was over

	terms map[*l2vip.Runner]uint64 // the highest that each has told

	mu      sync.Mutex
	meeting time.Time     // until when members may not have met yet
	limit   time.Duration // for how long two may answer
	sitting *node         // the holder, as long as it has no reason to give up
	wrong   []string      // what watch has seen
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{
		dice: rand.New(rand.NewPCG(seed, 0)), seed: seed, began: time.Now(),
		dead: make(map[*node]bool), failed: make(map[*node]bool), apart: make(map[*node]time.Time), unplugged: make(map[*node]time.Time),
		terms: make(map[*l2vip.Runner]uint64), limit: overlap,
	}
	n := 3 + c.dice.IntN(3)
	c.minMembers = []int{1, 1, 2, n/2 + 1}[c.dice.IntN(4)]
	if c.dice.IntN(4) == 0 {
		c.failback = 20 * time.Second
	}
	of := layout{engines: engines(seed % 3)}
	c.profile = []l2vip.Profile{l2vip.Fast(), l2vip.DefaultProfile()}[seed/3%2]
	c.note("%d nodes, %v, beats each %v, MinMembers %d, Failback %v", n, of.engines, c.profile.Beat, c.minMembers, c.failback)
	c.cluster = newClusterOf(t, of, n, c.configure)
	return c
}

func (c *chaos) configure(_ int, config *l2vip.Config) {
	config.MinMembers, config.Failback, config.Profile = c.minMembers, c.failback, c.profile
}

// run lets so many things happen, and then everything be well again.
func (c *chaos) run(events int) {
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { c.watch(over) })
	defer watch.Wait()
	defer close(over)

	c.quiet()
	for range events {
		c.event()
		c.after()
		if c.dice.IntN(8) == 0 {
			c.allWell()
			time.Sleep(calm)
			c.quiet()
			continue
		}
		// From milliseconds to a minute, each magnitude as often as the other.
		pause := time.Duration(float64(time.Millisecond) * math.Pow(10, 4.8*c.dice.Float64()))
		time.Sleep(pause)
		if time.Since(c.since) >= calm {
			c.quiet()
		}
	}
	c.allWell()
	time.Sleep(calm)
	c.quiet()
}

// event lets something happen that can happen.
func (c *chaos) event() {
	n := c.nodes[c.dice.IntN(len(c.nodes))]
	if names := c.lan.answering(vip); c.dice.IntN(2) == 0 && len(names) > 0 {
		n = c.named(names[0]) // where it hurts
	}
	apart := n.side() != 0
	kinds := 19 // those that follow mean something only on a segment with beats
	if c.engines != gossipAlone {
		kinds = 30
	}
	switch kind := c.dice.IntN(kinds); {
	case kind < 2 && !apart:
		c.touch(n, "cut")
		c.cut(n)
	case kind < 4 && !apart:
		c.touch(n, "unplug")
		c.unplug(n)
	case kind < 5 && !apart:
		c.split()
	case kind < 6 && apart:
		c.note("plug %s", n.name)
		c.mayLose()
		c.plug(n)
		c.meets()
	case kind < 7:
		c.note("heal")
		c.mayLose()
		c.heal()
		c.meets()
	case kind < 9 && !c.dead[n]:
		c.touch(n, "kill")
		c.kill(n)
		c.gone(n)
	case kind < 10 && !c.dead[n]:
		pause := time.Duration(c.dice.IntN(600)) * time.Millisecond
		c.touch(n, fmt.Sprintf("kill, and after %v start", pause))
		c.kill(n)
		c.gone(n)
		time.Sleep(pause)
		c.revive(n)
	case kind < 11 && !c.dead[n]:
		c.touch(n, "stop")
		c.gone(n)
		require.NoError(c, n.stop(), c)
	case kind < 12 && c.dead[n]:
		c.touch(n, "start")
		c.revive(n)
	case kind < 14 && !c.dead[n] && !c.failed[n]:
		c.touch(n, "fail")
		n.app.Set(health.State{Reason: "down"})
		c.failed[n] = true
	case kind < 15 && !c.dead[n] && c.failed[n]:
		c.note("recover %s", n.name)
		n.app.Set(health.State{Ready: true})
		delete(c.failed, n)
	case kind < 16 && !c.dead[n]:
		pause := time.Duration(c.dice.IntN(2000)) * time.Millisecond
		c.touch(n, fmt.Sprintf("freeze for %v", pause))
		c.absent(n, pause)
		c.freeze(n)
		time.Sleep(pause)
		c.resume(n)
		c.meets()
	case kind < 17 && !c.lossy:
		loss := float64(c.dice.IntN(10)+1) / 100
		c.note("lose %.0f %%", loss*100)
		c.loss(loss)
	case kind < 17:
		c.note("lose nothing")
		c.loss(0)
	case kind < 18 && !apart && !c.dead[n]:
		// Long enough to be replaced, too short for all to notice.
		pause := time.Duration(c.dice.IntN(400)) * time.Millisecond
		c.touch(n, fmt.Sprintf("cut for %v", pause))
		c.cut(n)
		c.after()
		time.Sleep(pause)
		c.mayLose()
		c.put(n, 0)
		c.meets()
	case kind < 19 && !c.dead[n] && !apart:
		times, pause := 2+c.dice.IntN(6), time.Duration(20+c.dice.IntN(400))*time.Millisecond
		c.touch(n, fmt.Sprintf("%d times without carrier for %v", times, pause))
		c.absent(n, time.Duration(2*times)*pause)
		for range times {
			c.unplug(n)
			c.after()
			time.Sleep(pause)
			c.mayLose()
			c.plug(n)
			c.meets()
			c.after()
			time.Sleep(pause)
		}
	case kind < 21 && !c.dead[n]:
		pause := time.Duration(c.dice.IntN(900)) * time.Millisecond
		c.note("hang the loop of %s for %v", n.name, pause)
		c.blind(pause)
		c.hang(n)
		time.Sleep(pause)
		c.unhang(n)
	case kind < 22 && !c.dead[n]:
		pause := time.Second + time.Duration(c.dice.IntN(3000))*time.Millisecond
		c.touch(n, fmt.Sprintf("hang the loop for %v", pause))
		c.blind(pause) // it may be handing over
		c.hang(n)
		time.Sleep(pause)
		c.unhang(n)
		c.meets()
	case kind < 24 && !c.dead[n]:
		c.deafOrMute(n, "deafen", c.deafen)
	case kind < 26 && !c.dead[n]:
		c.deafOrMute(n, "silence", c.silence)
	case kind < 28 && !c.dead[n]:
		c.partial(n)
	case kind < 29 && c.engines == segmentAndGossip:
		c.note("block the membership: %t", !c.blocked)
		c.block(!c.blocked)
	case kind < 30 && !c.lossy:
		c.note("double and delay frames")
		double, jitter := c.dice.Float64()/4, time.Duration(1+c.dice.IntN(1000))*time.Microsecond
		for _, sw := range c.lan.switches {
			sw.SetDuplicates(double)
			sw.SetJitter(jitter)
		}
	default:
		c.event() // that made no sense
	}
}

// deafOrMute lets a node hear nothing, or not be heard, for a while.
func (c *chaos) deafOrMute(n *node, what string, set func(*node, bool)) {
	pause := time.Duration(c.dice.IntN(6000)) * time.Millisecond
	c.touch(n, fmt.Sprintf("%s for %v", what, pause))
	c.absent(n, pause)
	set(n, true)
	last := min(pause, time.Second) // enough for a node that was damped until then
	time.Sleep(pause - last)
	rest := slices.DeleteFunc(c.membersOn(n.side()), func(m *node) bool { return m == n })
	could := c.candidates(rest)
	time.Sleep(last)
	if pause > calm {
		synctest.Wait()
		if could && c.candidates(rest) {
			require.Len(c, c.lan.answeringOn(n.side(), vip), 1, "without %s\n%v", n.name, c)
		}
	}
	c.mayLose()
	set(n, false)
	c.meets()
}

// partial cuts a node from another for a while, both ways or one, while a third one
// hears both.
func (c *chaos) partial(n *node) {
	others := slices.DeleteFunc(c.membersOn(n.side()), func(m *node) bool { return m == n || m.down() })
	c.mu.Lock()
	meeting := time.Now().Before(c.meeting)
	c.mu.Unlock()
	if len(others) < 2 || n.down() || meeting {
		c.event() // there may be no third one that hears both
		return
	}
	other, pause := others[c.dice.IntN(len(others))], time.Duration(c.dice.IntN(4000))*time.Millisecond
	sw, ways := c.lan.switches[0], c.dice.IntN(3)
	if time.Since(c.since) < l2vip.DefaultHandoverTimeout {
		c.blind(l2vip.DefaultHandoverTimeout) // one may not hear that the other has taken over
	}
	c.note("cut %s from %s for %v, %s", n.name, other.name, pause, []string{"both ways", "there", "back"}[ways])
	sw.SetCut(n.machine, other.machine, ways != 2)
	sw.SetCut(other.machine, n.machine, ways != 1)
	time.Sleep(pause)
	c.separate(n, other, false)
}

// absent says that the others may miss n for a while: too few may be left.
func (c *chaos) absent(n *node, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missed = time.Now().Add(d + lately)
	if c.sitting != nil && c.seen() < c.minMembers {
		c.sitting = nil
	}
}

// seen is how many members the sitting holder has seen lately. The lock is held.
func (c *chaos) seen() int {
	seen := len(c.membersOn(c.sitting.side()))
	if time.Now().Before(c.missed) {
		seen--
	}
	return seen
}

// blind says that for a while a node that answers can't know who else does. The
// holder has no reason to give up all the same: its beats tell that it is alive.
func (c *chaos) blind(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meeting = time.Now().Add(d + meet)
}

// split cuts the cluster in two.
func (c *chaos) split() {
	var far []string
	for _, n := range c.nodes {
		if n.side() == 0 && c.dice.IntN(2) == 0 {
			far = append(far, n.name)
			c.put(n, -1)
		}
	}
	c.note("split off %v", far)
	c.meets() // with those that are on that side already
}

// gone says that the process of n is ending.
func (c *chaos) gone(n *node) {
	c.dead[n] = true
	c.after()
}

func (c *chaos) revive(n *node) {
	c.start(slices.Index(c.nodes, n), c.configure)
	delete(c.dead, n)
	delete(c.failed, n)
	delete(c.apart, n) // if it is, then from now on
}

func (c *chaos) loss(p float64) {
	c.network.SetLoss(p)
	for _, sw := range c.lan.switches {
		sw.SetLoss(p)
	}
	c.lossy = p > 0
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = overlap
	if c.lossy {
		c.limit = overlapLossy
	} else {
		c.meeting = time.Now().Add(meet)
	}
}

// allWell ends everything that is wrong.
func (c *chaos) allWell() {
	c.note("all is well")
	c.mayLose()
	c.heal()
	c.loss(0)
	for _, sw := range c.lan.switches {
		sw.SetDuplicates(0)
		sw.SetJitter(0)
	}
	c.block(false)
	c.meets()
	for _, n := range c.nodes {
		if c.dead[n] {
			c.revive(n)
		}
		n.app.Set(health.State{Ready: true})
		delete(c.failed, n)
	}
	c.after()
}

// meets says that members on both sides of what was a partition meet now.
func (c *chaos) meets() {
	// Where only one side has a holder, nobody has to settle anything. Clients
	// that heard of one which gave up on their side wait for the refresh.
	c.lan.refresh(vip)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meeting = time.Now().Add(meet)
}

// mayLose is called before nodes come back: a holder that kept serving loses to
// none that was merely cut off, but until those know that they hear nobody, the
// larger side wins.
func (c *chaos) mayLose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, since := range c.apart {
		apart := time.Since(since)
		switch {
		case c.sitting == nil:
		case 2*c.seen() <= len(c.nodes) && apart < loner, c.engines == gossipAlone && apart < counted:
			c.sitting = nil
		}
	}
}

// onlyLoners reports whether all who are not on side zero, where the clients are,
// hear nobody.
func (c *chaos) onlyLoners() bool {
	for _, side := range c.sides() {
		if side != 0 && len(c.membersOn(side)) > 1 {
			return false
		}
	}
	return true
}

// touch notes an event that may well make n lose what it holds.
func (c *chaos) touch(n *node, what string) {
	c.note("%s %s", what, n.name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sitting == n {
		c.sitting = nil
	}
}

// after is called after each event.
func (c *chaos) after() {
	c.since = time.Now()
	for _, n := range c.nodes {
		if n.down() {
			c.unplugged[n] = time.Now()
		}
		if n.side() == 0 {
			delete(c.apart, n)
		} else if c.apart[n].IsZero() {
			c.apart[n] = time.Now()
		}
	}
	c.mu.Lock()
	if c.sitting != nil {
		seen := c.seen()
		if seen < c.minMembers || 2*seen <= len(c.nodes) && (c.sitting.side() != 0 || !c.onlyLoners()) {
			c.sitting = nil // another side may be as large
		}
	}
	c.mu.Unlock()
	synctest.Wait()
	c.check()
}

// check checks what holds at any time.
func (c *chaos) check() {
	c.mu.Lock()
	wrong := c.wrong
	c.mu.Unlock()
	require.Empty(c, wrong, c)
	for _, n := range c.nodes {
		if c.dead[n] {
			continue
		}
		term := n.Status().Addresses[0].Term
		require.GreaterOrEqual(c, term, c.terms[n.Runner], "the term of %s\n%v", n.name, c)
		c.terms[n.Runner] = term
	}
}

// quiet checks what holds when nothing has happened for a while.
func (c *chaos) quiet() {
	synctest.Wait()
	for range 5 {
		if !c.lossy || c.answered() {
			break
		}
		time.Sleep(500 * time.Millisecond) // one may just be missed, and with it the quorum
		synctest.Wait()
	}
	c.check()
	whole := true
	for _, side := range c.sides() {
		members := c.membersOn(side)
		whole = whole && len(members) == len(c.nodes)-len(c.dead)
		c.quietOn(side, members)
	}
	if names := c.lan.answering(vip); whole && len(names) == 1 {
		require.Equal(c, names[0], c.lan.last(vip), "the holder has the last word\n%v", c)
		if c.failback == 0 {
			c.mu.Lock()
			c.sitting = c.named(names[0])
			c.mu.Unlock()
		}
	}
}

// answered reports whether one node answers on each side where one can.
func (c *chaos) answered() bool {
	for _, side := range c.sides() {
		if c.candidates(c.membersOn(side)) && len(c.lan.answeringOn(side, vip)) != 1 {
			return false
		}
	}
	return true
}

// quietOn checks one side of a partition.
func (c *chaos) quietOn(side int, members []*node) {
	names := c.lan.answeringOn(side, vip)
	switch candidates := c.candidates(members); {
	case !candidates:
		require.Empty(c, names, "which node answers on side %d\n%v", side, c)
	case c.engines != gossipAlone && side != 0 && len(members) == 1:
		require.LessOrEqual(c, len(names), 1)
	default:
		require.Len(c, names, 1, "which node answers on side %d\n%v", side, c)
	}
	holder := strings.Join(names, "")
	term := members[0].Status().Addresses[0].Term
	for _, n := range members {
		s := n.Status()
		require.Len(c, s.Members, len(members), "which members %s sees\n%v", n.name, c)
		require.Equal(c, holder, s.Addresses[0].Holder, "the holder as %s sees it\n%v", n.name, c)
		require.Equal(c, term, s.Addresses[0].Term, "the term as %s sees it\n%v", n.name, c)
	}
}

// candidates reports whether one of the members on a side may hold the address.
func (c *chaos) candidates(members []*node) bool {
	return len(members) >= c.minMembers && slices.ContainsFunc(members, func(n *node) bool {
		return !c.failed[n] && !n.down() && !c.damped(n)
	})
}

// damped reports whether a node is no candidate because its link has failed, or was
// none until a moment ago and makes its first claim.
func (c *chaos) damped(n *node) bool {
	s := n.Status().Addresses[0]
	return s.Reason == election.Damped || s.Phase == "probing" && time.Since(c.unplugged[n]) < dampedMost
}

// watch looks all the time who answers on each side, until over is closed.
func (c *chaos) watch(over <-chan struct{}) {
	since := make(map[int]time.Time) // since when more than one answer
	step := time.NewTicker(2 * time.Millisecond)
	defer step.Stop()
	for {
		select {
		case <-over:
			return
		case <-step.C:
		}
		now := time.Now()
		c.mu.Lock()
		for _, side := range c.sides() {
			names := c.lan.answeringOn(side, vip)
			if len(names) < 2 || now.Before(c.meeting) {
				delete(since, side)
				continue
			}
			if since[side].IsZero() {
				since[side] = now
			}
			if d := now.Sub(since[side]); d > c.limit {
				c.wrong = append(c.wrong, fmt.Sprintf("%v: %v answer since %v", now.Sub(c.began), names, d))
				delete(since, side)
			}
		}
		if n := c.sitting; n != nil && !slices.Contains(c.lan.answeringOn(n.side(), vip), n.name) {
			c.wrong = append(c.wrong, fmt.Sprintf("%v: nothing was done to %s, but it gave up", now.Sub(c.began), n.name))
			c.sitting = nil
		}
		c.mu.Unlock()
	}
}

// sides returns the sides on which there are live nodes.
func (c *chaos) sides() []int {
	var sides []int
	for _, n := range c.nodes {
		if !c.dead[n] && !slices.Contains(sides, n.side()) {
			sides = append(sides, n.side())
		}
	}
	return sides
}

// membersOn returns the live nodes on a side.
func (c *chaos) membersOn(side int) []*node {
	var members []*node
	for _, n := range c.nodes {
		if !c.dead[n] && n.side() == side {
			members = append(members, n)
		}
	}
	return members
}

func (n *node) down() bool { return !n.links()[0].Up() }

func (c *chaos) named(name string) *node {
	return c.nodes[slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == name })]
}

// note writes down what happens.
func (c *chaos) note(format string, args ...any) {
	c.history = append(c.history, fmt.Sprintf("%9.3f  ", time.Since(c.began).Seconds())+fmt.Sprintf(format, args...))
}

// String is what has happened so far.
func (c *chaos) String() string {
	c.lan.mu.Lock()
	announced := slices.Clone(c.lan.announced[vip])
	c.lan.mu.Unlock()
	return fmt.Sprintf("seed %d, at %v:\n%s\nannounced on side 0: %v\n%s",
		c.seed, time.Since(c.began), strings.Join(c.history, "\n"), announced, c.explain())
}
