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
	"github.com/l2vip/l2vip/health"
)

var (
	chaosSeeds  = flag.Uint64("chaos.seeds", 6, "how many seeds TestChaos runs")
	chaosFirst  = flag.Uint64("chaos.first", 1, "the first of them")
	chaosEvents = flag.Int("chaos.events", 30, "events for each seed")
)

// TestChaos lets clusters live through what a seeded generator thinks up, and
// checks what must hold all the time, and whenever it has been quiet for a while.
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
	// deaf is after how long a node that is alone is known to hear nobody.
	deaf = 4 * time.Second
	// lately is what a holder means when it tells how many members it saw lately.
	lately = 12 * time.Second
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
	profile    *l2vip.Profile // nil: no heartbeats
	history    []string

	dead   map[*node]bool
	failed map[*node]bool
	apart  map[*node]time.Time // since when a node is not on side zero
	missed time.Time           // until when a holder may have seen one member fewer
	lossy  bool
	since  time.Time // when the last event was over

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
		dead: make(map[*node]bool), failed: make(map[*node]bool), apart: make(map[*node]time.Time),
		terms: make(map[*l2vip.Runner]uint64), limit: overlap,
	}
	n := 3 + c.dice.IntN(3)
	c.minMembers = []int{1, 1, 2, n/2 + 1}[c.dice.IntN(4)]
	if c.dice.IntN(4) == 0 {
		c.failback = 20 * time.Second
	}
	beats := "no heartbeats"
	if fast, safe := l2vip.Fast(), l2vip.DefaultProfile(); seed%3 > 0 {
		c.profile = []*l2vip.Profile{&fast, &safe}[seed%3-1]
		beats = fmt.Sprintf("beats each %v", c.profile.Beat)
	}
	c.note("%d nodes, MinMembers %d, Failback %v, %s", n, c.minMembers, c.failback, beats)
	c.cluster = newCluster(t, n, c.configure)
	return c
}

func (c *chaos) configure(i int, config *l2vip.Config) {
	config.MinMembers, config.Failback = c.minMembers, c.failback
	if c.profile != nil {
		beatingAs(*c.profile)(i, config)
	}
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
	if names := c.segment.answering(vip); c.dice.IntN(2) == 0 && len(names) > 0 {
		n = c.named(names[0]) // where it hurts
	}
	apart := n.side() != 0
	switch kind := c.dice.IntN(c.choice()); {
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
		n.station.set(func(st *station) { st.side, st.down = 0, false })
		c.wire()
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
		loss := c.dice.IntN(10) + 1
		c.note("lose %d %%", loss)
		c.loss(float64(loss) / 100)
	case kind < 17:
		c.note("lose nothing")
		c.loss(0)
	case kind < 18 && !apart && !c.dead[n]:
		// Long enough to be replaced, too short for the membership to notice.
		pause := time.Duration(c.dice.IntN(400)) * time.Millisecond
		c.touch(n, fmt.Sprintf("cut for %v", pause))
		c.cut(n)
		c.after()
		time.Sleep(pause)
		c.mayLose()
		n.station.set(func(st *station) { st.side = 0 })
		c.wire()
		c.meets()
	case kind < 19 && !c.dead[n] && !c.lossy:
		pause := time.Duration(c.dice.IntN(4000)) * time.Millisecond
		c.note("starve the membership of %s for %v", n.name, pause)
		c.blind(pause)
		c.starve(n)
		time.Sleep(pause)
		c.feed(n)
	case kind < 20 && !c.dead[n]:
		pause := time.Duration(c.dice.IntN(900)) * time.Millisecond
		c.note("starve the loop of %s for %v", n.name, pause)
		c.blind(pause)
		open := n.gate.shut()
		time.Sleep(pause)
		close(open)
	default:
		c.event() // that made no sense
	}
}

// choice is how many kinds of events there are: some mean something only with
// heartbeats.
func (c *chaos) choice() int {
	if c.profile == nil {
		return 17
	}
	return 20
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
			n.station.set(func(st *station) { st.side = -1 })
		}
	}
	c.wire()
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
	c.segment.refresh(vip)
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
	if c.sitting == nil || 2*c.seen() > len(c.nodes) {
		return
	}
	for _, since := range c.apart {
		if time.Since(since) < deaf {
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
	c.check()
	whole := true
	for _, side := range c.sides() {
		members := c.membersOn(side)
		whole = whole && len(members) == len(c.nodes)-len(c.dead)
		c.quietOn(side, members)
	}
	if names := c.segment.answering(vip); whole && len(names) == 1 {
		require.Equal(c, names[0], c.segment.last(vip), "the holder has the last word\n%v", c)
		if c.failback == 0 {
			c.mu.Lock()
			c.sitting = c.named(names[0])
			c.mu.Unlock()
		}
	}
}

// quietOn checks one side of a partition.
func (c *chaos) quietOn(side int, members []*node) {
	want := 0
	for _, n := range members {
		if !c.failed[n] && !n.down() && len(members) >= c.minMembers {
			want = 1
		}
	}
	names := c.segment.answeringOn(side, vip)
	require.Len(c, names, want, "who answers on side %d\n%v", side, c)
	holder := strings.Join(names, "")
	term := members[0].Status().Addresses[0].Term
	for _, n := range members {
		s := n.Status()
		require.Len(c, s.Members, len(members), "whom %s sees\n%v", n.name, c)
		require.Equal(c, holder, s.Addresses[0].Holder, "the holder as %s sees it\n%v", n.name, c)
		require.Equal(c, term, s.Addresses[0].Term, "the term as %s sees it\n%v", n.name, c)
	}
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
			names := c.segment.answeringOn(side, vip)
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
		if n := c.sitting; n != nil && !slices.Contains(c.segment.answeringOn(n.side(), vip), n.name) {
			c.wrong = append(c.wrong, fmt.Sprintf("%v: nothing was done to %s, but it gave up", now.Sub(c.began), n.name))
			c.sitting = nil
		}
		c.mu.Unlock()
	}
}

// sides returns the sides on which there are live nodes.
func (c *chaos) sides() []int {
	c.segment.mu.Lock()
	defer c.segment.mu.Unlock()
	var sides []int
	for _, st := range c.segment.stations {
		if st.running && !st.dead && !slices.Contains(sides, st.side) {
			sides = append(sides, st.side)
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

func (n *node) down() (down bool) {
	n.station.set(func(st *station) { down = st.down })
	return down
}

func (c *chaos) named(name string) *node {
	return c.nodes[slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == name })]
}

// note writes down what happens.
func (c *chaos) note(format string, args ...any) {
	c.history = append(c.history, fmt.Sprintf("%9.3f  ", time.Since(c.began).Seconds())+fmt.Sprintf(format, args...))
}

// String is what has happened so far.
func (c *chaos) String() string {
	c.segment.mu.Lock()
	announced := slices.Clone(c.segment.announced[vip])
	c.segment.mu.Unlock()
	return fmt.Sprintf("seed %d, at %v:\n%s\nannounced on side 0: %v\n%s",
		c.seed, time.Since(c.began), strings.Join(c.history, "\n"), announced, c.explain())
}
