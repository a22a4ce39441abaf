package testnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	nodePort = "eth0"

	// patience bounds the wait for a link, which takes a millisecond or two.
	patience = 10 * time.Second
	// pollEvery is the pause between two looks at a link.
	pollEvery = 200 * time.Microsecond
)

// bridgeNames are the names of the switch's bridges. There is a second one once
// it was split.
var bridgeNames = [...]string{"br0", "br1"}

// lab is what a Lab holds on Linux.
type lab struct {
	mu      sync.Mutex // one change of the lab at a time
	sw      *namespace // the switch
	bridges []netlink.Link
	snoops  bool
	nodes   []*Node // one for each interface
	added   int     // interfaces, ever
	guard   guard
	closed  bool
}

// node is what a Node holds on Linux.
type node struct {
	lab *Lab
	ns  *namespace

	// The rest changes under the lab's lock.
	port      netlink.Link
	bridge    netlink.Link // where port belongs
	unplugged bool
	blocked   bool
}

func (l *Lab) open() error {
	sw, err := newNamespace("switch")
	if err != nil {
		return fmt.Errorf("testnet: lab: %w", explain(err))
	}
	if err := l.openSwitch(sw); err != nil {
		return errors.Join(fmt.Errorf("testnet: lab: switch: %w", explain(err)), sw.close())
	}
	return nil
}

func (l *Lab) openSwitch(sw *namespace) error {
	l.sw = sw
	// The switch speaks to nobody, and looks at nothing above the frame.
	err := sw.run(func() error {
		return errors.Join(
			sysctl("net/ipv6/conf/all/disable_ipv6", "1"),
			sysctl("net/ipv6/conf/default/disable_ipv6", "1"),
			sysctl("net/bridge/bridge-nf-call-arptables", "0"),
			sysctl("net/bridge/bridge-nf-call-iptables", "0"),
			sysctl("net/bridge/bridge-nf-call-ip6tables", "0"),
		)
	})
	if err != nil {
		return err
	}
	return l.addBridge()
}

// addBridge makes the switch's next bridge.
func (l *Lab) addBridge() error {
	number := len(l.bridges)
	snooping := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgeNames[number]
	attrs.HardwareAddr = hardwareAddr(0xff, number)
	if err := l.sw.handle.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	bridge, err := l.sw.handle.LinkByName(attrs.Name)
	if err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	if err := l.sw.handle.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bridge up: %w", err)
	}
	l.bridges = append(l.bridges, bridge)
	return nil
}

func (l *Lab) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var err error
	for _, n := range l.nodes {
		err = errors.Join(err, n.ns.close())
	}
	err = errors.Join(err, l.sw.close())
	l.guard.close()
	return err
}

func (l *Lab) addNode(name string, prefixes []netip.Prefix) (*Node, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("testnet: node %s: lab: %w", name, os.ErrClosed)
	}
	if slices.ContainsFunc(l.nodes, func(n *Node) bool { return n.Name == name }) {
		return nil, fmt.Errorf("testnet: node %s: %w", name, os.ErrExist)
	}
	ns, err := newNamespace(name)
	if err != nil {
		return nil, fmt.Errorf("testnet: node %s: %w", name, err)
	}
	n := &Node{Name: name, Interface: nodePort, node: node{lab: l, ns: ns}}
	if err = quietIPv6(ns); err == nil {
		err = n.connect(prefixes)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("testnet: node %s: %w", name, err), ns.close())
	}
	l.nodes = append(l.nodes, n)
	return n, nil
}

func (n *Node) addInterface(name string, prefixes []netip.Prefix) (*Node, error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if n.lab.closed {
		return nil, n.errorf("interface "+name, os.ErrClosed)
	}
	added := &Node{Name: n.Name, Interface: name, node: node{lab: n.lab, ns: n.ns}}
	if err := added.connect(prefixes); err != nil {
		if added.port != nil {
			err = errors.Join(err, n.lab.sw.handle.LinkDel(added.port))
		}
		return nil, n.errorf("interface "+name, err)
	}
	n.lab.nodes = append(n.lab.nodes, added)
	return added, nil
}

// quietIPv6 makes addresses of new interfaces usable at once, and the kernel ask
// for no router.
func quietIPv6(ns *namespace) error {
	return ns.run(func() error {
		var err error
		for _, scope := range []string{"all", "default"} {
			conf := "net/ipv6/conf/" + scope
			err = errors.Join(err,
				sysctl(conf+"/accept_dad", "0"),
				sysctl(conf+"/dad_transmits", "0"),
				sysctl(conf+"/accept_ra", "0"),
				sysctl(conf+"/router_solicitations", "0"),
			)
		}
		return err
	})
}

// connect plugs a new interface of a node in and gives it its addresses.
func (n *Node) connect(prefixes []netip.Prefix) error {
	l := n.lab
	l.added++
	n.HardwareAddr = hardwareAddr(0, l.added)
	n.bridge = l.bridges[0]
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.portName(l.added)
	veth := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         n.Interface,
		PeerHardwareAddr: n.HardwareAddr,
		PeerNamespace:    netlink.NsFd(int(n.ns.net.Fd())),
	}
	if err := l.sw.handle.LinkAdd(veth); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	var err error
	if n.port, err = l.sw.handle.LinkByName(attrs.Name); err != nil {
		return fmt.Errorf("port: %w", err)
	}
	if err := l.sw.handle.LinkSetMaster(n.port, n.bridge); err != nil {
		return fmt.Errorf("port into bridge: %w", err)
	}
	if err := l.sw.handle.LinkSetUp(n.port); err != nil {
		return fmt.Errorf("port up: %w", err)
	}
	eth, err := n.ns.handle.LinkByName(n.Interface)
	if err != nil {
		return fmt.Errorf("%s: %w", n.Interface, err)
	}
	n.Index = eth.Attrs().Index
	if err := n.ns.handle.LinkSetUp(eth); err != nil {
		return fmt.Errorf("%s up: %w", n.Interface, err)
	}
	for _, prefix := range prefixes {
		addr := &netlink.Addr{IPNet: &net.IPNet{
			IP:   prefix.Addr().AsSlice(),
			Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
		}}
		if prefix.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := n.ns.handle.AddrAdd(eth, addr); err != nil {
			return fmt.Errorf("address %s: %w", prefix, err)
		}
		n.Addrs = append(n.Addrs, prefix.Addr())
	}
	if err := n.waitUp(); err != nil {
		return err
	}
	if err := n.findLinkLocal(eth); err != nil {
		return err
	}
	return n.heard()
}

// portName names the switch's port after the node where the kernel takes it.
func (n *Node) portName(number int) string {
	name := n.Name
	if n.Interface != nodePort {
		name += "." + n.Interface
	}
	if len(name) == 0 || len(name) >= unix.IFNAMSIZ || slices.Contains(bridgeNames[:], name) || name == "lo" {
		return fmt.Sprintf("port%d", number)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || c == '/' || c == ':' || c == '%' {
			return fmt.Sprintf("port%d", number)
		}
	}
	return name
}

// hardwareAddr is a locally administered address.
func hardwareAddr(kind byte, number int) net.HardwareAddr {
	return net.HardwareAddr{2, 0, kind, byte(number >> 16), byte(number >> 8), byte(number)}
}

// waitUp waits until the link is up on both sides.
func (n *Node) waitUp() error {
	if err := waitState(n.lab.sw.handle, n.port.Attrs().Index, netlink.OperUp); err != nil {
		return fmt.Errorf("port: %w", err)
	}
	if err := waitState(n.ns.handle, n.Index, netlink.OperUp); err != nil {
		return fmt.Errorf("%s: %w", n.Interface, err)
	}
	return nil
}

// findLinkLocal waits for the address that the kernel makes by itself.
func (n *Node) findLinkLocal(eth netlink.Link) error {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return nil
	}
	return poll("IPv6 link-local address", func() (bool, error) {
		addrs, err := n.ns.handle.AddrList(eth, netlink.FAMILY_V6)
		for _, addr := range addrs {
			if ip, _ := netip.AddrFromSlice(addr.IP); ip.IsLinkLocalUnicast() && addr.Flags&unix.IFA_F_TENTATIVE == 0 {
				n.LinkLocal = ip
				return true, nil
			}
		}
		return false, err
	})
}

func (n *Node) unplug() error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if n.unplugged {
		return nil
	}
	if err := n.lab.sw.handle.LinkSetDown(n.port); err != nil {
		return n.errorf("unplug", err)
	}
	n.unplugged = true
	return n.errorf("unplug", waitState(n.ns.handle, n.Index, netlink.OperDown, netlink.OperLowerLayerDown))
}

func (n *Node) plug() error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if !n.unplugged {
		return nil
	}
	if n.blocked {
		// A port that comes up forwards; outside the bridge it can't.
		if err := n.lab.sw.handle.LinkSetNoMaster(n.port); err != nil {
			return n.errorf("plug", err)
		}
	}
	if err := n.lab.sw.handle.LinkSetUp(n.port); err != nil {
		return n.errorf("plug", err)
	}
	n.unplugged = false
	if err := n.waitUp(); err != nil {
		return n.errorf("plug", err)
	}
	return n.errorf("plug", n.heard())
}

func (n *Node) block() error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if n.blocked {
		return nil
	}
	var err error
	if n.unplugged {
		err = n.lab.sw.handle.LinkSetNoMaster(n.port)
	} else {
		err = n.setPortState(portDisabled)
	}
	n.blocked = err == nil
	return n.errorf("block", err)
}

func (n *Node) unblock() error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if !n.blocked {
		return nil
	}
	port, err := n.lab.sw.handle.LinkByIndex(n.port.Attrs().Index)
	switch {
	case err != nil:
	case port.Attrs().MasterIndex == 0:
		err = n.lab.sw.handle.LinkSetMaster(n.port, n.bridge)
	case !n.unplugged:
		err = n.setPortState(portForwarding)
	}
	if err != nil {
		return n.errorf("unblock", err)
	}
	n.blocked = false
	return n.errorf("unblock", n.heard())
}

// States of a bridge's port, of linux/if_bridge.h.
const (
	portDisabled   = 0
	portForwarding = 3
)

func (n *Node) setPortState(state byte) error {
	return n.lab.sw.run(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
		msg.Index = int32(n.port.Attrs().Index)
		req.AddData(msg)
		info := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
		info.AddRtAttr(nl.IFLA_BRPORT_STATE, []byte{state})
		req.AddData(info)
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

func (n *Node) do(fn func() error) error { return n.ns.do(fn) }

func (n *Node) start(cmd *exec.Cmd) error {
	if err := n.lab.guard.watch(n.ns); err != nil {
		return n.errorf("start", err)
	}
	return n.errorf("start", n.ns.start(cmd))
}

func (n *Node) frames() (net.PacketConn, error) {
	var c *packet.Conn
	err := n.do(func() (err error) {
		ifi := &net.Interface{Index: n.Index, Name: n.Interface, HardwareAddr: n.HardwareAddr}
		c, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	if err != nil {
		return nil, n.errorf("frames", err)
	}
	return c, nil
}

// errorf says which node it was and what it was doing.
func (n *Node) errorf(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("testnet: node %s: %s: %w", n.Name, op, err)
}

// waitState waits until a link is in one of the states.
func waitState(h *netlink.Handle, index int, states ...netlink.LinkOperState) error {
	return poll(fmt.Sprintf("link %v", states[0]), func() (bool, error) {
		link, err := h.LinkByIndex(index)
		if err != nil {
			return false, err
		}
		for _, state := range states {
			if link.Attrs().OperState == state {
				return true, nil
			}
		}
		return false, nil
	})
}

// poll looks until it sees what it waits for.
func poll(what string, look func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(pollEvery) {
		seen, err := look()
		if err != nil || seen {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for %s: %w", what, os.ErrDeadlineExceeded)
		}
	}
}

// sysctl writes a setting of the calling thread's namespace. One that the
// kernel does not have is left out.
func sysctl(name, value string) error {
	err := os.WriteFile("/proc/sys/"+name, []byte(value), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
