package l2vip

import (
	"cmp"
	"time"

	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/internal/conferr"
)

// Profile is the timings by which a failed node is noticed. A field that is zero is
// that of the default profile, which is safe on any local network. All nodes of a
// cluster should have the same.
//
//	                              default     Fast        Slow
//	Beat                          40 ms       2 ms        250 ms
//	Misses                        5           3           8
//	silent node noticed within    280 ms      10 ms       2.3 s     Beat × (Misses + 1) and the time to ask
//	ended process, as fast        280 ms      10 ms       2.3 s     its kernel says so
//	deaf node replaced within     300 ms      250 ms      2.5 s     two beats of a node that holds nothing, and the time to ask
//	stopped process replaced in   1.2 s       1.0 s       3.0 s     Config.Lease and Beat × Misses
//	Probe                         100 ms      100 ms      500 ms
//	frames a second of a holder   25          500         4
type Profile struct {
	// Beat is the time between two beats of a node that holds addresses.
	// See [segment.Config].
	Beat time.Duration
	// Misses is how many beats of such a node must be missed before the others, and the
	// node's kernel, are asked for it.
	Misses int
	// Probe is the interval that everything in the membership derives from:
	// pass it as gossip.Config.ProbeInterval. The Runner does not use it.
	Probe time.Duration
}

// DefaultProfile is what a zero Profile stands for.
func DefaultProfile() Profile {
	return Profile{Beat: 40 * time.Millisecond, Misses: 5, Probe: 100 * time.Millisecond}
}

// Fast is for a local network where frames take less than a millisecond: a node
// whose link or kernel fails is replaced within some 10 ms.
func Fast() Profile {
	return Profile{Beat: 2 * time.Millisecond, Misses: 3, Probe: 100 * time.Millisecond}
}

// Slow is for networks that lose frames or hold them up for long: wireless ones,
// or bridges over wide areas.
func Slow() Profile {
	return Profile{Beat: 250 * time.Millisecond, Misses: 8, Probe: 500 * time.Millisecond}
}

// filled returns the profile without zero fields.
func (p Profile) filled() Profile {
	d := DefaultProfile()
	return Profile{Beat: cmp.Or(p.Beat, d.Beat), Misses: cmp.Or(p.Misses, d.Misses), Probe: cmp.Or(p.Probe, d.Probe)}
}

// validate returns which timings can't work.
func (p Profile) validate() error {
	var errs conferr.List
	p = p.filled()
	if p.Beat < segment.MinInterval || p.Beat > segment.MaxInterval {
		errs.Addf("Beat", "%v is not between %v and %v", p.Beat, segment.MinInterval, segment.MaxInterval)
	}
	if p.Misses < 2 {
		errs.Addf("Misses", "%d: a single frame that is lost must not count, so 2 at least", p.Misses)
	}
	if p.Probe < 0 {
		errs.Addf("Probe", "%v is negative", p.Probe)
	}
	return errs.Err()
}

// Detection returns within what time a node that nobody can hear any more, its
// kernel included, is taken for dead.
func (p Profile) Detection() time.Duration {
	p = p.filled()
	return p.Beat + segment.Config{Interval: p.Beat, Misses: p.Misses}.Detection()
}
