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
	// With these a member that dies is declared dead 4 probe intervals after
	// the first probe that fails. More than one for the second would only let
	// several that are lost at once take longer.
	suspicionMult    = 3
	suspicionMaxMult = 1

	// awareness is by how much a member that suspects itself to be slow
	// stretches its probes, at the most.
	awareness = 2

	// offerRetransmitMult is memberlist's RetransmitMult for offers, twice its
	// default: they are few, and the next repair is a second away.
	offerRetransmitMult = 8

	// pushPull is the pause between two exchanges with a random member, which
	// repair what was lost.
	pushPull = time.Second
	// leaveTimeout bounds the farewell.
	leaveTimeout = 500 * time.Millisecond
	// metaTimeout bounds how long memberlist waits for new metadata to be sent.
	metaTimeout = 200 * time.Millisecond
	// rememberPause is the pause between two times that this member takes a
	// higher instance, lest two members of one name drive each other up.
	rememberPause = time.Second
)

// engine is one run of a Gossip.
//
// One goroutine, loop, encodes and sends and calls report. All others change the
// state under mu, which is never held while anything waits, and wake it. memberlist's lock may be held when mu is taken, never the reverse.
type engine struct {
	gossip  *Gossip
	self    string
	cluster string
	key     []byte // nil: no encryption
	report  func(election.Membership)
	count   *counters
	log     *asynclog.Logger // as much is logged under memberlist's locks
	list    *memberlist.Memberlist
	trans   *transport
	queue   *memberlist.TransmitLimitedQueue
	learned learnedPeers

	datagram int           // the longest message that fits into one
	kick     chan struct{} // wakes loop
	slots    chan struct{} // bounds the goroutines that send large offers
	syncs    chan struct{} // bounds the exchanges that Sync asked for
	seeks    chan struct{} // bounds its attempts to join what is missing

	mu         sync.Mutex
	table      table
	conflicts  map[conflict]time.Time
	seeds      [][]netip.AddrPort // where the peers are, as far as is known
	instance   uint64
	remembered uint64    // the highest instance of this member that others know
	nextUp     time.Time // when instance may be raised again
	pending    *election.Offer
	published  *election.Offer // the last one that loop took from pending
	revision   uint64          // of published
	asked      bool            // another member takes only a newer offer than that
	own        []byte          // its binary form
	joined     bool            // or known to be alone
	dirty      bool            // report must be called
	calling    bool            // it is being called
	delivered  chan struct{}   // closed and replaced when it was
	over       bool
	wg         sync.WaitGroup
	ctx        context.Context // of the goroutines below wg
}

func newEngine(g *Gossip, self, cluster string, key []byte, report func(election.Membership)) *engine {
	e := &engine{
		gossip:    g,
		self:      self,
		cluster:   cluster,
		key:       key,
		report:    report,
		count:     &g.count,
		log:       asynclog.New(g.cfg.Logger.Handler()),
		learned:   newLearnedPeers(),
		kick:      make(chan struct{}, 1),
		slots:     make(chan struct{}, 64),
		syncs:     make(chan struct{}, 16),
		seeks:     make(chan struct{}, 4),
		seeds:     make([][]netip.AddrPort, len(g.peers)),
		conflicts: make(map[conflict]time.Time),
		// The low bits tell starts in one microsecond apart.
		instance:  uint64(g.clock().UnixNano())&^0x3ff | rand.Uint64N(0x3ff) + 1,
		dirty:     true,
		delivered: make(chan struct{}),
	}
	e.table.nodes = make(map[string]*member)
	e.queue = &memberlist.TransmitLimitedQueue{
		RetransmitMult: offerRetransmitMult,
		// The queue asks under its own lock, which encode takes under the engine's.
		NumNodes: func() int { return int(e.table.live.Load()) + 1 },
	}
	return e
}

// config returns memberlist's configuration.
func (e *engine) config() *memberlist.Config {
	cfg := &e.gossip.cfg
	ml := memberlist.DefaultLANConfig()
	ml.Name = e.self
	ml.Label = labelOf(e.cluster)
	ml.Transport = e.trans
	ml.BindPort = cfg.Port
	ml.AdvertiseAddr = e.trans.advertise.Addr().String()
	ml.AdvertisePort = int(e.trans.advertise.Port())
	ml.TCPTimeout = streamTimeout
	ml.ProbeInterval = cfg.ProbeInterval
	ml.ProbeTimeout = cfg.probeTimeout()
	ml.GossipInterval = cfg.ProbeInterval / 5
	ml.GossipToTheDeadTime = memory
	ml.SuspicionMult = suspicionMult
	ml.SuspicionMaxTimeoutMult = suspicionMaxMult
	ml.AwarenessMaxMultiplier = awareness
	ml.PushPullInterval = pushPull
	ml.DeadNodeReclaimTime = time.Millisecond
	ml.EnableCompression = false
	ml.SecretKey = e.key
	ml.UDPBufferSize = packetSize
	d := delegate{e}
	ml.Delegate, ml.Events, ml.Alive, ml.Conflict = d, d, d, d
	ml.Logger = newAdapter(e.log.Logger, e.count)

	e.datagram = packetSize - len(ml.Label) - datagramOverhead
	return ml
}

// datagramOverhead is what memberlist puts around a message in a datagram, at
// the most: label, encryption, checksum, compound and type.
const datagramOverhead = 2 + 29 + 5 + 2 + 2 + 1

// run is Gossip.Run.
func (e *engine) run(ctx context.Context, learned <-chan netip.AddrPort) error {
	cfg := &e.gossip.cfg
	advertise, err := cfg.advertise(ctx, e.gossip.peers)
	if err != nil {
		return err
	}
	e.trans, err = newTransport(ctx, cfg, e.count, e.log.Logger)
	if err != nil {
		return err
	}
	e.trans.advertise = netip.AddrPortFrom(advertise, uint16(cfg.Port))
	e.trans.label = labelOf(e.cluster)
	e.trans.encrypted = len(e.key) > 0

	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	e.ctx = running
	var log sync.WaitGroup
	logging, endLog := context.WithCancel(context.WithoutCancel(ctx))
	log.Go(func() { e.log.Run(logging) })
	defer log.Wait()
	defer endLog()

	list, err := memberlist.Create(e.config())
	if err != nil {
		_ = e.trans.Shutdown()
		return fmt.Errorf("gossip: %w", err)
	}
	e.mu.Lock()
	e.list = list
	e.mu.Unlock()
	e.trans.start()

	var loops sync.WaitGroup
	loops.Go(func() { e.loop(running) })
	loops.Go(func() { e.keepPeers(running) })
	loops.Go(func() { e.keepLearned(running) })
	loops.Go(func() { e.learn(running, learned) })
	select {
	case <-ctx.Done():
	case err = <-e.trans.broken:
	}
	stop()
	loops.Wait()
	e.close()
	if err == nil {
		e.farewell(list)
		// An error says only that no member heard it in time.
		_ = list.Leave(leaveTimeout)
	}
	_ = list.Shutdown()
	e.wg.Wait()
	if e.count.joins.Load() > 0 {
		e.waitForProbes(cfg.ProbeInterval)
	}
	return err
}

// farewell tells every member that this one leaves. memberlist tells them too, but
// not whether a member has left or failed.
func (e *engine) farewell(list *memberlist.Memberlist) {
	leave := message{kind: kindLeave, sender: e.self}
	var to []memberlist.Node
	e.mu.Lock()
	leave.instance = e.instance
	for _, name := range e.table.names() {
		to = append(to, e.table.nodes[name].node)
	}
	e.mu.Unlock()
	msg := leave.append(nil, e.cluster)
	for i := range to {
		_ = list.SendBestEffort(&to[i], msg) // if it is lost, memberlist's will do
	}
}

// waitForProbes waits for memberlist's last probes. Nothing interrupts a probe, and
// Shutdown does not join it; but it is over after one probe interval, times the
// awareness of being slow, and a program that has stopped its membership shall
// not find it still at work.
func (e *engine) waitForProbes(interval time.Duration) {
	timer := time.NewTimer(awareness*interval + interval/10)
	defer timer.Stop()
	<-timer.C
}

// spawn runs f in a goroutine that run joins, unless it is too late. The lock is
// held.
func (e *engine) spawn(f func()) bool {
	if e.over {
		return false
	}
	e.wg.Go(f)
	return true
}

// close lets no more goroutines begin.
func (e *engine) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
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
	e.dirty = true
	e.wake()
}

// publish takes the offer of this member.
func (e *engine) publish(o *election.Offer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending = o
	e.wake()
}

// loop does what is to be done, one turn at a time.
func (e *engine) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.kick:
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return
		}
		e.encode()
		next := e.send(ctx)
		e.deliver()
		timer.Reset(time.Until(next))
	}
}

// deliver calls report if there is news.
func (e *engine) deliver() {
	e.mu.Lock()
	if !e.dirty || !e.joined {
		e.mu.Unlock()
		return
	}
	e.dirty, e.calling = false, true
	m := election.Membership{
		Offers:    e.table.offers(),
		Endpoint:  e.trans.advertise,
		Detection: e.gossip.cfg.detection(),
	}
	e.mu.Unlock()

	e.report(m)

	e.mu.Lock()
	defer e.mu.Unlock()
	e.calling = false
	close(e.delivered)
	e.delivered = make(chan struct{})
}

// encode makes the newest offer of this member ready to be sent, under a higher
// instance if others remember one.
func (e *engine) encode() {
	e.mu.Lock()
	now := time.Now()
	up := e.remembered >= e.instance && !now.Before(e.nextUp)
	if up {
		e.instance = e.remembered + 1
		e.nextUp = now.Add(rememberPause)
		list := e.list
		e.spawn(func() { e.updateMeta(list) })
	}
	fresh := e.pending != nil && (e.published == nil || e.asked || !same(e.pending, e.published))
	if fresh {
		e.published, e.asked = e.pending, false
		e.revision++
	}
	e.pending = nil
	if e.published == nil || !fresh && !up {
		e.mu.Unlock()
		return
	}
	o := *e.published
	o.Node = e.self
	e.mu.Unlock()

	data, _ := o.AppendBinary(nil) // never fails

	e.mu.Lock()
	defer e.mu.Unlock()
	e.own = data
	for _, m := range e.table.nodes {
		if m.live {
			m.outbox[e.self] = struct{}{}
		}
	}
	if msg := e.offerOf(e.self); len(msg) <= e.datagram {
		e.queue.QueueBroadcast(&broadcast{e.self, msg})
	}
}

// same reports whether two offers of this member are one.
func same(a, b *election.Offer) bool {
	return a.Instance == b.Instance && a.Revision == b.Revision && a.Equal(b)
}

// updateMeta tells the others the new instance.
func (e *engine) updateMeta(list *memberlist.Memberlist) {
	_ = list.UpdateNode(metaTimeout) // an error says only that it is not sent yet
}

// offerOf returns the message with the newest offer of a member, or nil if none
// is known. The lock is held.
func (e *engine) offerOf(name string) []byte {
	r, ok := e.recordOf(name)
	if !ok || r.data == nil {
		return nil
	}
	msg := message{kind: kindOffer, sender: e.self, instance: e.instance, records: []record{r}}
	return msg.append(make([]byte, 0, len(r.data)+512), e.cluster)
}

// recordOf returns the newest offer of a member. The lock is held.
func (e *engine) recordOf(name string) (record, bool) {
	if name == e.self {
		return record{e.self, version{e.instance, e.revision}, e.own}, e.own != nil
	}
	m := e.table.alive(name)
	if m == nil || m.offer == nil {
		return record{}, false
	}
	return record{name, m.have, m.data}, true
}

// broadcast is an offer in the gossip queue, where it replaces older ones.
type broadcast struct {
	node string
	msg  []byte
}

var _ memberlist.NamedBroadcast = (*broadcast)(nil)

func (b *broadcast) Name() string    { return b.node }
func (b *broadcast) Message() []byte { return b.msg }
func (b *broadcast) Finished()       {}

func (b *broadcast) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(*broadcast)
	return ok && o.node == b.node
}
