package gossip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/internal/asynclog"
)

const (
	// With these a member that dies is declared dead 4 probe intervals after the first
	// probe that fails. More than one for the second would only let several that are lost
	// at once take longer.
	suspicionMult    = 3
	suspicionMaxMult = 1

	// awareness is by how much a member that suspects itself to be slow stretches its
	// probes, at the most.
	awareness = 2

	// gossipRounds is the pause between two rounds of memberlist's gossip, in probe
	// intervals. What is urgent travels with the probes, too: shorter ones were not measured
	// to notice sooner.
	gossipRounds = 5
	// pushPull is the pause between two exchanges with a random member. What is found to be
	// missing in between is repaired at once: see repair.
	pushPull = 30 * time.Second
	// leaveTimeout bounds the farewell.
	leaveTimeout = 500 * time.Millisecond
	// raisePause is the pause between two times that this member takes a higher instance,
	// lest two members of one name drive each other up.
	raisePause = time.Second
)

// engine is one run of a Gossip.
//
// One goroutine, loop, encodes and sends and calls report. All others change the state
// under mu, which is never held while anything waits, and wake it. memberlist's lock and
// those of links and seeds may be held when mu is taken, never the reverse.
type engine struct {
	gossip  *Gossip
	self    string
	cluster string
	count   *counters
	local   *election.Local
	log     *asynclog.Logger // as much is logged under memberlist's locks
	list    *memberlist.Memberlist
	trans   *transport
	seeds   *seeds
	kick    chan struct{} // wakes loop

	mu                   sync.Mutex
	table                table
	own                  publication
	news                 news
	instance             uint64    // of this member
	raised               time.Time // when it was raised last
	senders              int       // goroutines that send large offers
	repairAt, reconciled time.Time
}

// news is what report has to tell. The engine's lock guards it.
type news struct {
	report    func(election.Membership)
	joined    bool          // or known to be alone
	dirty     bool          // report must be called
	calling   bool          // it is being called
	delivered chan struct{} // closed and replaced when it was
}

func newEngine(g *Gossip, local *election.Local, cluster string, report func(election.Membership)) *engine {
	e := &engine{
		gossip: g, self: local.Name, local: local, cluster: cluster, count: &g.count, log: asynclog.New(g.cfg.Logger.Handler()), kick: make(chan struct{}, 1),
		// The low bits tell starts in one microsecond apart.
		instance: uint64(g.clock().UnixNano())&^0x3ff | rand.Uint64N(0x3ff) + 1,
		news:     news{report: report, dirty: true, delivered: make(chan struct{})},
	}
	e.table.members = make(map[string]*member)
	e.seeds = newSeeds(e, g.peers)
	return e
}

// config returns memberlist's configuration. The transport seals what it sends.
func (e *engine) config() *memberlist.Config {
	cfg := &e.gossip.cfg
	ml := memberlist.DefaultLANConfig()
	ml.Name = e.self
	ml.Transport = e.trans
	ml.BindPort = cfg.Port
	ml.AdvertiseAddr = e.trans.advertise.Addr().String()
	ml.AdvertisePort = int(e.trans.advertise.Port())
	ml.TCPTimeout = streamTimeout
	ml.ProbeInterval = cfg.ProbeInterval
	ml.ProbeTimeout = cfg.probeTimeout()
	ml.GossipInterval = gossipRounds * cfg.ProbeInterval
	ml.GossipToTheDeadTime = memory
	ml.SuspicionMult = suspicionMult
	ml.SuspicionMaxTimeoutMult = suspicionMaxMult
	ml.AwarenessMaxMultiplier = awareness
	ml.PushPullInterval = pushPull
	ml.DeadNodeReclaimTime = time.Millisecond
	ml.EnableCompression = false
	const checksum = 1 + checksumSize // which memberlist does not count
	ml.UDPBufferSize = packetSize - overhead(e.cluster, e.self, "") - maxName - checksum
	d := delegate{e}
	ml.Delegate, ml.Events, ml.Alive, ml.Conflict = d, d, d, d
	ml.Logger = newAdapter(e.log.Logger)
	return ml
}

// run is Gossip.Run.
func (e *engine) run(ctx context.Context) error {
	cfg := &e.gossip.cfg
	var log sync.WaitGroup
	logging, endLog := context.WithCancel(context.WithoutCancel(ctx))
	log.Go(func() { e.log.Run(logging) })
	defer log.Wait()
	defer endLog()
	advertise, err := cfg.awaitAdvertise(ctx, e.gossip.peers, e.log.Logger)
	if err != nil {
		return nil // it was told to end
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	trans, err := newTransport(ctx, cfg, advertise, e)
	if err != nil {
		return err
	}

	e.mu.Lock()
	e.trans = trans
	e.mu.Unlock()
	list, err := memberlist.Create(e.config())
	if err != nil {
		_ = trans.Shutdown()
		return fmt.Errorf("gossip: %w", err)
	}
	e.mu.Lock()
	e.list = list
	e.mu.Unlock()
	trans.start()

	var loops sync.WaitGroup
	loops.Go(func() { e.loop(running) })
	loops.Go(func() { e.seeds.run(running) })
	loops.Go(func() { e.seeds.learn(running, e.local.Learned) })
	select {
	case <-ctx.Done():
	case err = <-trans.sockets.broken:
	}
	stop()
	loops.Wait()
	if err == nil {
		e.farewell()
		// An error says only that no member heard it in time.
		_ = list.Leave(leaveTimeout)
	}
	_ = list.Shutdown()
	if e.count.joins.Load() > 0 {
		waitForProbes(cfg.ProbeInterval)
	}
	return err
}

// farewell tells every member that this one leaves. memberlist tells them too, but not
// whether a member has left or failed.
func (e *engine) farewell() {
	msg := (&message{kind: kindLeave}).append(nil)
	for _, m := range e.live() {
		_ = e.trans.send(kindEngine, m.name, m.addr, msg) // if it is lost, memberlist's will do
	}
}

// waitForProbes waits for memberlist's last probes. Nothing interrupts a probe, and
// Shutdown does not join it; but it is over after one probe interval, times the awareness
// of being slow, and a program that has stopped its membership shall not find it still at
// work.
func waitForProbes(interval time.Duration) {
	timer := time.NewTimer(awareness*interval + interval/10)
	defer timer.Stop()
	<-timer.C
}

// wake makes loop turn once more.
func (e *engine) wake() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// changed notes that report has news. The lock is held.
func (e *engine) changed() {
	e.news.dirty = true
	e.wake()
}

// publish takes the offer of this member.
func (e *engine) publish(o *election.Offer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.own.pending = o; e.own.published == nil || e.own.asked || !same(o, e.own.published) {
		e.wake()
	}
}

// nowJoined lets report be called from now on.
func (e *engine) nowJoined() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.news.joined = true
	e.wake()
}

// loop does what is to be done, one turn at a time.
func (e *engine) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var beating <-chan struct{} // closed when other members beat
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.kick:
		case <-timer.C:
		case <-beating:
		}
		if ctx.Err() != nil {
			return
		}
		e.encode()
		var all bool
		all, beating = e.trans.holder.beating(e.live())
		next := e.send(all)
		e.deliver()
		timer.Reset(time.Until(next))
	}
}

// deliver calls report if there is news.
func (e *engine) deliver() {
	e.mu.Lock()
	n := &e.news
	if !n.dirty || !n.joined {
		e.mu.Unlock()
		return
	}
	n.dirty, n.calling = false, true
	m := election.Membership{
		Offers:    e.table.offers(),
		Endpoint:  e.trans.advertise,
		Detection: e.gossip.cfg.detection(),
	}
	e.mu.Unlock()

	n.report(m)

	e.mu.Lock()
	defer e.mu.Unlock()
	n.calling = false
	close(n.delivered)
	n.delivered = make(chan struct{})
}

// raise makes this member a later instance than one of its name that others remember,
// and reports whether it is one now.
func (e *engine) raise(known uint64) bool {
	e.mu.Lock()
	recently := time.Since(e.raised) < raisePause
	e.mu.Unlock()
	if own := e.trans.links.own(); known < own {
		return true
	} else if recently || !e.trans.links.raise(known) {
		return false
	}
	own := e.trans.links.own()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.instance, e.raised = own, time.Now()
	for _, m := range e.table.all() {
		m.outbox[e.self] = struct{}{}
	}
	e.wake()
	return true
}

// location is where a member is.
type location struct {
	name string
	addr netip.AddrPort
}

// live returns where the live members are.
func (e *engine) live() (all []location) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.table.all() {
		all = append(all, location{m.name, m.addr})
	}
	return all
}

// located returns where a live member is.
func (e *engine) located(name string) (netip.AddrPort, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.table.alive(name); m != nil {
		return m.addr, true
	}
	return netip.AddrPort{}, false
}
