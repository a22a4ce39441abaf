package pool

import (
	"fmt"
	"net/netip"
	"strings"
)

// Move is one address of a service that another takes the place of.
type Move struct {
	Service  string
	From, To netip.Addr
}

// MovedError says which addresses a change of configuration would move although
// their services still ask for the same.
type MovedError struct {
	// Moves are ordered as the services were in the earlier allocation, then
	// as their addresses were. There is at least one.
	Moves []Move
}

// maxMovesShown keeps the text of a MovedError readable.
const maxMovesShown = 5

// Error names the first moves, and how many there are besides.
func (e *MovedError) Error() string {
	var b strings.Builder
	b.WriteString("addresses that are still asked for would move: ")
	for i, m := range e.Moves {
		if i == maxMovesShown {
			fmt.Fprintf(&b, ", and %d more", len(e.Moves)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "service %q from %v to %v", m.Service, m.From, m.To)
	}
	return b.String()
}

// Moved compares two allocations and returns a [*MovedError] if a service that
// asks for the same in both would have another address after than before. A
// service asks for the same if its addresses are allocated automatically from
// the same pool, or both times from any; if the number changes, the addresses
// that it keeps asking for, which are the first ones, must stay.
//
// A service that is gone or reserved in after, that is new, or that asks for
// addresses by name, does not move. A service that was reserved and comes back
// must find its addresses.
func Moved(before, after *Allocation) error {
	if before == nil || after == nil {
		return nil
	}
	var moves []Move
	for _, name := range before.order {
		was := before.services[name]
		is, stays := after.services[name]
		if !stays {
			continue
		}
		for i := range was.request.keeps(is.request) {
			if was.addresses[i] != is.addresses[i] {
				moves = append(moves, Move{name, was.addresses[i], is.addresses[i]})
			}
		}
	}
	if moves == nil {
		return nil
	}
	return &MovedError{moves}
}
