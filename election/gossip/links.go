package gossip

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2vip/l2vip/election"
)

const (
	// maxLinks bounds the names that are remembered.
	maxLinks = 4 * maxMembers
	// window is how many counters below the highest one are told apart.
	window = 1024
	// ahead is by how much an instance may lie ahead of this host's clock.
	ahead = 24 * time.Hour
	// tokenAge is how long a token is good for the first time, at the least.
	tokenAge = 2 * time.Second
	// challengesPerSecond bounds the challenges to one source, and maxSources the sources
	// that are challenged in one second.
	challengesPerSecond, maxSources = 50, 1024
	// maxUnproven is how many datagrams are kept to send them again when they are
	// answered with a challenge, and unprovenAge for how long.
	maxUnproven, unprovenAge = 4, time.Second
)

// link is what this engine and one other name know of each other.
//
// A name is believed for an instance that has proven itself: it has sent back what this
// engine gave it, on a stream or in a challenge. Earlier instances are void from then
// on.
type link struct {
	instance uint64       // the latest that has proven itself; zero: none
	source   netip.Addr   // from where
	accepts  []keyID      // the keys that it accepts, as it has said last
	tokens   [4]token     // which it may show
	next     int          // of them, to be replaced
	shown    bool         // it has shown one
	highest  uint64       // counter
	seen     [window]bool // by counter modulo window
	open     map[keyID]cipher.AEAD

	given     token     // what the other wants to be shown
	givenFrom uint64    // its instance
	unproven  []sent    // the last datagrams to it
	used      time.Time // when it has proven itself, or was written to
}

// sent is a datagram that may have to be sent again.
type sent struct {
	kind    byte
	data    []byte
	to      netip.AddrPort
	counter uint64
	at      time.Time
}

// links has the link to each name, and what this engine proves itself with.
type links struct {
	cluster, self string
	// located returns where a live member is. It is called under mu.
	located func(name string) (netip.AddrPort, bool)
	clock   func() time.Time // the wall clock
	began   time.Time
	cookie  []byte // the key for tokens

	mu       sync.Mutex
	instance uint64
	counter  uint64
	seal     map[keyID]cipher.AEAD // of this instance
	names    map[string]*link
	second   int64 // since began, in which challenged counts
	sources  map[netip.Addr]int
}

func newLinks(cluster, self string, instance uint64, clock func() time.Time) *links {
	l := &links{
		cluster: cluster, self: self, clock: clock, instance: instance, began: time.Now(),
		cookie: make([]byte, sha256.Size), names: make(map[string]*link), seal: make(map[keyID]cipher.AEAD), sources: make(map[netip.Addr]int),
	}
	_, _ = rand.Read(l.cookie) // never fails
	// A host that cannot see the datagrams cannot guess their counters either.
	var start [8]byte
	_, _ = rand.Read(start[2:])
	l.counter = binary.BigEndian.Uint64(start[:])
	return l
}

// proven returns the instance of a name that has proven itself; zero if none has.
func (l *links) proven(name string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.names[name]; k != nil {
		return k.instance
	}
	return 0
}

// own returns the instance of this engine.
func (l *links) own() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.instance
}

// raise makes this engine a later instance than the one that others know of its name,
// and reports whether it is one now.
func (l *links) raise(known uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known < l.instance {
		return true
	}
	if !l.believable(known + 1) {
		return false
	}
	l.instance = known + 1
	clear(l.seal)
	return true
}

// believable reports whether an instance is not too far ahead.
func (l *links) believable(instance uint64) bool {
	limit := l.clock().Add(ahead).UnixNano()
	return limit > 0 && instance <= uint64(limit)
}

// link returns the link to a name, and makes one if there is none.
func (l *links) link(name string, now time.Time) *link {
	k := l.names[name]
	if k == nil {
		if len(l.names) >= maxLinks {
			l.makeRoom()
		}
		k = &link{open: make(map[keyID]cipher.AEAD)}
		l.names[name] = k
	}
	k.used = now
	return k
}

// makeRoom forgets the name that was used the longest ago, of those that are not live.
func (l *links) makeRoom() {
	oldest := ""
	for name, k := range l.names {
		if oldest == "" || k.used.Before(l.names[oldest].used) {
			if _, live := l.located(name); !live {
				oldest = name
			}
		}
	}
	delete(l.names, oldest)
}

// datagram returns a datagram to a name, sealed and kept for the case that it is
// answered with a challenge.
func (l *links) datagram(r *ring, kind byte, name string, to netip.AddrPort, data []byte) []byte {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.link(name, now)
	b, counter := l.sealed(r, k, l.choose(r, k), kind, name, data)
	if kind == kindMemberlist || kind == kindEngine {
		if len(k.unproven) == maxUnproven {
			copy(k.unproven, k.unproven[1:])
			k.unproven = k.unproven[:maxUnproven-1]
		}
		k.unproven = append(k.unproven, sent{kind, data, to, counter, now})
	}
	return b
}

// choose returns the secret to write to a name with. The lock is held.
func (l *links) choose(r *ring, k *link) *secret {
	if s := r.choose(k.accepts); s != nil {
		return s
	}
	return &r.secrets[0]
}

// sealed seals a datagram under the next counter. The lock is held.
func (l *links) sealed(r *ring, k *link, s *secret, kind byte, name string, data []byte) ([]byte, uint64) {
	aead := l.seal[s.id]
	if aead == nil {
		if len(l.seal) >= 2*election.MaxKeys {
			clear(l.seal) // of rotations long ago
		}
		aead = s.datagrams(l.cluster, l.self, l.instance)
		l.seal[s.id] = aead
	}
	l.counter++
	e := envelope{
		head:     head{kind: kind, ids: r.ids(s), cluster: l.cluster, sender: l.self, instance: l.instance},
		receiver: name, counter: l.counter, token: k.given,
	}
	b := e.append(make([]byte, 0, overhead(l.cluster, l.self, name)+len(data)))
	return aead.Seal(b, nonce(l.counter), data, b), l.counter
}

// overhead is by how much a datagram is longer than what is sealed in it, at the most.
func overhead(cluster, sender, receiver string) int {
	return len(magic) + 2 + 1 + 4*election.MaxKeys + 3 + len(cluster) + len(sender) + len(receiver) + 8 + 8 + tokenSize + sealSize
}

// take opens a datagram. It returns what was sealed, and whether the instance has just
// proven itself; or why it is not taken. If reply is not nil it is a challenge for the
// address to.
func (l *links) take(e *envelope, sealed []byte, b []byte, s *secret, r *ring, from netip.AddrPort) (data []byte, news bool, why reason, reply []byte, to netip.AddrPort) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.names[e.sender]
	known := k != nil && k.instance == e.instance
	switch {
	case k != nil && e.instance < k.instance:
		return nil, false, dropStale, nil, to
	case known && k.repeated(e.counter) && e.kind != kindChallenge:
		return nil, false, dropReplayed, nil, to
	case !l.believable(e.instance):
		return nil, false, dropFuture, nil, to
	}
	var aead cipher.AEAD
	if known {
		aead = k.open[s.id]
	}
	if aead == nil {
		aead = s.datagrams(l.cluster, e.sender, e.instance)
	}
	data, err := aead.Open(nil, nonce(e.counter), sealed, b[:len(b)-len(sealed)])
	if err != nil {
		return nil, false, dropForged, nil, to
	}
	if e.kind == kindChallenge {
		return data, false, taken, nil, to // what it answers is its proof
	}
	where := from
	if addr, live := l.located(e.sender); live {
		// Not to the source: another host may say that it is the member.
		where = addr
	}
	switch {
	case known && slices.Contains(k.tokens[:], e.token) && e.token != (token{}):
		k.shown = true
	case l.isFresh(e.token, e.sender, e.instance, where):
		news = !known
		k = l.link(e.sender, now)
		k.prove(e.instance, from.Addr(), e.token)
		k.shown = true
	default:
		if !l.mayChallenge(from.Addr(), now) {
			return nil, false, dropOverloaded, nil, to
		}
		c := challenge{l.token(e.sender, e.instance, where, now), e.instance, e.counter}
		reply, _ = l.sealed(r, l.orNone(k), s, kindChallenge, e.sender, c.append(nil)) // with a key that it knows
		return nil, false, dropUnproven, reply, where
	}
	if len(k.open) >= 2*election.MaxKeys {
		clear(k.open)
	}
	k.open[s.id], k.accepts, k.used = aead, e.ids, now
	k.note(e.counter)
	return data, news, taken, nil, to
}

// orNone returns the link, or one that nothing is known of. The answer to a stranger
// makes no memory.
func (l *links) orNone(k *link) *link {
	if k == nil {
		return new(link)
	}
	return k
}

// challenged takes a challenge, and returns what to send again, now with the token.
func (l *links) challenged(e *envelope, data []byte) []sent {
	c, ok := parseChallenge(data)
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.names[e.sender]
	if !ok || k == nil || c.instance != l.instance {
		return nil
	}
	now := time.Now()
	if !slices.ContainsFunc(k.unproven, func(s sent) bool { return s.counter == c.counter && now.Sub(s.at) < unprovenAge }) {
		return nil
	}
	again := k.unproven
	k.unproven = nil
	k.given, k.givenFrom = c.token, e.instance
	if !slices.Equal(k.accepts, e.ids) {
		k.accepts = e.ids
	}
	return slices.DeleteFunc(again, func(s sent) bool { return now.Sub(s.at) >= unprovenAge })
}

// again returns a datagram once more, under a new counter.
func (l *links) again(r *ring, name string, s *sent) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.link(name, time.Now())
	b, _ := l.sealed(r, k, l.choose(r, k), s.kind, name, s.data)
	return b
}

// token returns what an instance of a name is to show, if it is at that address.
func (l *links) token(name string, instance uint64, where netip.AddrPort, now time.Time) token {
	return l.tokenOf(name, instance, where, int64(now.Sub(l.began)/tokenAge))
}

func (l *links) tokenOf(name string, instance uint64, where netip.AddrPort, age int64) token {
	mac := hmac.New(sha256.New, l.cookie)
	var numbers [16]byte
	binary.BigEndian.PutUint64(numbers[:], instance)
	binary.BigEndian.PutUint64(numbers[8:], uint64(age))
	mac.Write(numbers[:])
	mac.Write([]byte(where.String() + "\x00" + name))
	return token(mac.Sum(nil)[:tokenSize])
}

// isFresh reports whether a token was given lately, for that address.
func (l *links) isFresh(t token, name string, instance uint64, where netip.AddrPort) bool {
	if t == (token{}) {
		return false
	}
	age := int64(time.Since(l.began) / tokenAge)
	for _, a := range []int64{age, age - 1} {
		want := l.tokenOf(name, instance, where, a)
		if hmac.Equal(t[:], want[:]) {
			return true
		}
	}
	return false
}

// mayChallenge reports whether one more challenge may be sent to a source.
func (l *links) mayChallenge(source netip.Addr, now time.Time) bool {
	if second := int64(now.Sub(l.began) / time.Second); second != l.second {
		l.second = second
		clear(l.sources)
	}
	count := l.sources[source]
	if count >= challengesPerSecond || count == 0 && len(l.sources) >= maxSources {
		return false
	}
	l.sources[source] = count + 1
	return true
}

// The outcomes of classify.
type standing int

const (
	fine      standing = iota
	itself             // it is this very engine
	namesake           // it has this engine's name
	outdated           // a later instance of the name has proven itself
	future             // too far ahead
	contested          // the name is a live member's, at another address
)

// classify returns what to think of an instance of a name that proves itself on a stream
// from or to a source and shows a token, and the latest instance that has done so before.
func (l *links) classify(h *head, source netip.Addr, keyed bool, shows token) (known uint64, s standing) {
	name, instance := h.sender, h.instance
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == l.self {
		if instance == l.instance {
			return 0, itself
		}
		return 0, namesake
	}
	k := l.names[name]
	if k == nil {
		k = new(link)
	}
	addr, live := l.located(name)
	elsewhere := live && addr.Addr() != source
	switch {
	case instance < k.instance:
		s = outdated
	case !l.believable(instance):
		s = future
	case k.instance != 0 && instance > k.instance && elsewhere:
		s = contested
	case instance == k.instance && !keyed && elsewhere && k.source != source && (shows == token{} || !slices.Contains(k.tokens[:], shows)):
		s = contested // nothing but its address and the token tells it from a stranger
	}
	return k.instance, s
}

// givenBy returns what an instance of a name has given this engine to show.
func (l *links) givenBy(h *head) token {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.names[h.sender]; k != nil && k.givenFrom == h.instance {
		return k.given
	}
	return token{}
}

// noteProven notes that an instance of a name has proven itself on a stream, what it is to show
// in its datagrams, and what this engine is to show. It reports whether it is news.
func (l *links) noteProven(g *greeting, source netip.Addr, itShows, weShow token) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.link(g.sender, time.Now())
	if g.instance < k.instance {
		return false
	}
	news = g.instance > k.instance
	if news || !k.shown {
		k.prove(g.instance, source, itShows)
	}
	if k.givenFrom != g.instance {
		k.given, k.givenFrom = weShow, g.instance
	}
	k.accepts = g.ids
	return news
}

// prove notes that an instance has proven itself, and the token that it has for that.
func (k *link) prove(instance uint64, source netip.Addr, t token) {
	if instance != k.instance {
		k.instance, k.shown, k.highest = instance, false, 0
		k.tokens, k.seen, k.open = [4]token{}, [window]bool{}, make(map[keyID]cipher.AEAD)
	}
	k.source = source
	if !slices.Contains(k.tokens[:], t) {
		k.tokens[k.next] = t
		k.next = (k.next + 1) % len(k.tokens)
	}
}

// repeated reports whether a counter was marked, or is too old to know.
func (k *link) repeated(counter uint64) bool {
	if counter > k.highest {
		return false
	}
	return k.highest-counter >= window || k.seen[counter%window]
}

// note notes a counter that has come.
func (k *link) note(counter uint64) {
	if counter > k.highest {
		for i := k.highest + 1; i < counter && i <= k.highest+window; i++ {
			k.seen[i%window] = false
		}
		if k.highest == 0 || counter-k.highest >= window {
			k.seen = [window]bool{}
		}
		k.highest = counter
	}
	k.seen[counter%window] = true
}
