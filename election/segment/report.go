package segment

import (
	"cmp"
	"slices"
	"time"
)

// report returns what is known of the segments.
func (c *core) report() Report {
	var out Report
	for _, l := range c.links {
		r := LinkReport{Index: l.Index, Isolated: l.isolated, Stations: l.others, Unheard: l.unheard}
		if l.since > 0 {
			r.Since = c.origin + l.since
		}
		out.Links = append(out.Links, r)
	}
	for name, starts := range c.byName {
		counts := starts[0]
		for _, m := range starts[1:] {
			if m.before(counts) {
				counts = m
			}
		}
		if name != c.self {
			out.Peers = append(out.Peers, counts.report(c.origin))
		}
		for _, m := range starts {
			if m.alive() && (m != counts || name == c.self) {
				out.Namesakes = append(out.Namesakes, m.namesake())
			}
		}
	}
	slices.SortFunc(out.Peers, func(a, b Peer) int { return cmp.Compare(a.Node, b.Node) })
	slices.SortFunc(out.Namesakes, func(a, b Namesake) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Instance, b.Instance))
	})
	return out
}

// before says that of two starts of one name m counts: the one that is alive, then
// the earlier one, or of two that are not alive the one that was heard last.
func (m *member) before(other *member) bool {
	alive := m.alive()
	switch {
	case alive != other.alive():
		return alive
	case alive:
		return m.instance < other.instance
	}
	return m.heard > other.heard
}

func (m *member) report(origin time.Duration) Peer {
	p := Peer{
		Node: m.name, Instance: m.instance, Offer: m.offer, Revision: m.revision,
		HoldsAsOffered: m.offer != nil && !m.fenced && m.held == m.digest,
		HoldsNothing:   m.sequence > 0 && m.digest == 0, Fenced: m.fenced,
		Epoch: m.epoch, Membership: m.membership, Interval: m.interval,
		Rows: make([]Row, 0, len(m.rows)),
	}
	for _, r := range m.rows {
		p.Rows = append(p.Rows, Row{
			Link: r.link.Index, State: r.state, HardwareAddr: r.hw, Addr: r.addr, Leased: r.leased,
			Isolated: r.isolated, Unheard: r.hearsUs == no, Heard: origin + r.heard,
		})
	}
	return p
}

// namesake describes the member by the row on which it was heard last.
func (m *member) namesake() Namesake {
	last := slices.MaxFunc(m.rows, func(a, b *row) int { return cmp.Compare(a.heard, b.heard) })
	return Namesake{Node: m.name, Instance: m.instance, HardwareAddr: last.hw, Addr: last.addr}
}
