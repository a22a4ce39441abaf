package testnet

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
)

// split has the given nodes' ports in the second bridge, and all others in the
// first.
func (l *Lab) split(nodes []*Node) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("testnet: split: lab: %w", os.ErrClosed)
	}
	for _, n := range nodes {
		if n.lab != l {
			return fmt.Errorf("testnet: split: node %s is of another lab", n.Name)
		}
	}
	if len(nodes) > 0 && len(l.bridges) == 1 {
		if err := l.addSide(); err != nil {
			return fmt.Errorf("testnet: split: %w", err)
		}
	}
	var err error
	for _, n := range l.nodes {
		side := l.bridges[0]
		if slices.Contains(nodes, n) {
			side = l.bridges[1]
		}
		err = errors.Join(err, n.errorf("split", n.moveTo(side)))
	}
	for _, n := range l.nodes {
		err = errors.Join(err, n.errorf("split", n.heard()))
	}
	return err
}

// addSide makes the second bridge, which snoops if the first one does.
func (l *Lab) addSide() error {
	if err := l.addBridge(); err != nil {
		return err
	}
	if !l.snoops {
		return nil
	}
	return l.startSnooping(l.bridges[1])
}

// moveTo puts the node's port into a bridge. One that has its link forwards at
// once, and the far end of the cable does not notice.
func (n *Node) moveTo(bridge netlink.Link) error {
	if n.bridge.Attrs().Index == bridge.Attrs().Index {
		return nil
	}
	var err error
	if n.blocked {
		// In any bridge it would forward. Unblock puts it where it belongs.
		err = n.lab.sw.handle.LinkSetNoMaster(n.port)
	} else {
		err = n.lab.sw.handle.LinkSetMaster(n.port, bridge)
	}
	if err == nil {
		n.bridge = bridge
	}
	return err
}
