package testnet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// How the switch asks who listens to what, as short as the kernel takes it.
const (
	// queryInterval is the pause between two general queries: the kernel wants
	// at least a second.
	queryInterval = time.Second
	// membership is how long a report is good for: more than two queries, and
	// less than three.
	membership = 3*queryInterval - queryInterval/4
	// response is in what time the nodes answer a query.
	response = 10 * time.Millisecond
	// lastResponse is in what time others speak up when one leaves a group. It
	// is asked for twice.
	lastResponse = 100 * time.Millisecond
	// maxGroups is how many groups a bridge knows. With one more it stops
	// snooping, without a word.
	maxGroups = 1 << 16
)

func (l *Lab) snoop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("testnet: snoop: lab: %w", os.ErrClosed)
	}
	if l.snoops {
		return nil
	}
	for _, bridge := range l.bridges {
		if err := l.startSnooping(bridge); err != nil {
			return fmt.Errorf("testnet: snoop: %w", err)
		}
	}
	l.snoops = true
	for _, n := range l.nodes {
		if err := n.heard(); err != nil {
			return n.errorf("snoop", err)
		}
	}
	return nil
}

// startSnooping makes a bridge snoop, and ask.
func (l *Lab) startSnooping(bridge netlink.Link) error {
	if err := l.addQuerierAddr(bridge); err != nil {
		return err
	}
	// Before anything is asked, because the query says in what time to answer.
	err := l.setBridge(bridge, func(set func(attr int, value []byte)) {
		interval := func(attr int, d time.Duration) { set(attr, nl.Uint64Attr(uint64(d/(10*time.Millisecond)))) }
		interval(nl.IFLA_BR_MCAST_QUERY_INTVL, queryInterval)
		interval(nl.IFLA_BR_MCAST_STARTUP_QUERY_INTVL, queryInterval)
		interval(nl.IFLA_BR_MCAST_MEMBERSHIP_INTVL, membership)
		interval(nl.IFLA_BR_MCAST_QUERY_RESPONSE_INTVL, response)
		interval(nl.IFLA_BR_MCAST_LAST_MEMBER_INTVL, lastResponse)
		set(nl.IFLA_BR_MCAST_HASH_MAX, nl.Uint32Attr(maxGroups))
		set(nl.IFLA_BR_MCAST_MLD_VERSION, []byte{2})
		set(nl.IFLA_BR_MCAST_IGMP_VERSION, []byte{3})
	})
	if err != nil {
		return fmt.Errorf("multicast intervals: %w", err)
	}
	err = l.setBridge(bridge, func(set func(attr int, value []byte)) {
		set(nl.IFLA_BR_MCAST_SNOOPING, []byte{1})
		set(nl.IFLA_BR_MCAST_QUERIER, []byte{1})
	})
	if err != nil {
		return fmt.Errorf("multicast snooping: %w", err)
	}
	// A new querier floods until the response interval is over, by the clock's
	// ticks, of which there are at least a hundred a second. The kernel doesn't
	// tell.
	time.Sleep(2 * response)
	return nil
}

// addQuerierAddr gives a bridge the address of link scope from which MLD wants
// to be asked.
func (l *Lab) addQuerierAddr(bridge netlink.Link) error {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return fmt.Errorf("no IPv6 here: %w", errors.ErrUnsupported)
	}
	err := l.sw.run(func() error {
		conf := "net/ipv6/conf/" + bridge.Attrs().Name
		return errors.Join(
			sysctl(conf+"/addr_gen_mode", "1"), // none: the kernel waits for a carrier
			sysctl(conf+"/accept_ra", "0"),
			sysctl(conf+"/router_solicitations", "0"),
			sysctl(conf+"/disable_ipv6", "0"),
		)
	})
	if err != nil {
		return fmt.Errorf("IPv6: %w", err)
	}
	hw := bridge.Attrs().HardwareAddr
	addr := &netlink.Addr{
		IPNet: &net.IPNet{
			IP:   net.IP{0: 0xfe, 1: 0x80, 8: hw[0] ^ 2, 9: hw[1], 10: hw[2], 11: 0xff, 12: 0xfe, 13: hw[3], 14: hw[4], 15: hw[5]},
			Mask: net.CIDRMask(64, 128),
		},
		Flags: unix.IFA_F_NODAD,
	}
	if err := l.sw.handle.AddrReplace(bridge, addr); err != nil {
		return fmt.Errorf("address %s: %w", addr, err)
	}
	return nil
}

// setBridge changes settings of a bridge, IFLA_BR_... of linux/if_link.h.
func (l *Lab) setBridge(bridge netlink.Link, settings func(set func(attr int, value []byte))) error {
	return l.sw.run(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(bridge.Attrs().Index)
		req.AddData(msg)
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, []byte(bridge.Type()))
		data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
		settings(func(attr int, value []byte) { data.AddRtAttr(attr, value) })
		req.AddData(info)
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

// heard waits until a switch that snoops knows of every IPv6 group that the
// node's interface is in.
func (n *Node) heard() error {
	if !n.lab.snoops || n.unplugged || n.blocked {
		return nil
	}
	return poll("the switch to hear what groups it is in", func() (bool, error) {
		joined, err := n.groups()
		if err == nil {
			var known map[netip.Addr]bool
			known, err = n.lab.membersAt(n.port)
			joined = slices.DeleteFunc(joined, func(group netip.Addr) bool { return known[group] })
		}
		if errors.Is(err, nl.ErrDumpInterrupted) { // look again
			return false, nil
		}
		return len(joined) == 0, err
	})
}

// groups returns the IPv6 groups that the node's interface is in and reports, or
// will be in at once: the kernel joins the solicited-node group of an address
// some time after it has taken the address.
func (n *Node) groups() ([]netip.Addr, error) {
	joined, err := n.solicitedNode()
	if err != nil {
		return nil, err
	}
	var raw []byte
	err = n.ns.run(func() (err error) {
		raw, err = os.ReadFile("/proc/thread-self/net/igmp6")
		return err
	})
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // index, name, group, and more
		if len(fields) < 3 || fields[1] != n.Interface {
			continue
		}
		addr, err := hex.DecodeString(fields[2])
		if err != nil {
			return nil, fmt.Errorf("group %q: %w", fields[2], err)
		}
		group, _ := netip.AddrFromSlice(addr)
		if group != netip.IPv6LinkLocalAllNodes() && !group.IsInterfaceLocalMulticast() {
			joined = append(joined, group)
		}
	}
	return joined, lines.Err()
}

// solicitedNode returns the groups in which neighbors of the node's interface are
// asked for its addresses (RFC 4291 section 2.7.1).
func (n *Node) solicitedNode() (groups []netip.Addr, err error) {
	eth, err := n.ns.handle.LinkByIndex(n.Index)
	if err != nil {
		return nil, err
	}
	addrs, err := n.ns.handle.AddrList(eth, netlink.FAMILY_V6)
	for _, addr := range addrs {
		group := [16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff}
		copy(group[13:], addr.IP[13:])
		groups = append(groups, netip.AddrFrom16(group))
	}
	return groups, err
}

// Of linux/if_bridge.h.
const (
	mdbaMDB          = 1 // MDBA_MDB
	mdbaMDBEntry     = 1 // MDBA_MDB_ENTRY
	mdbaMDBEntryInfo = 1 // MDBA_MDB_ENTRY_INFO
	portMsgLen       = 8 // struct br_port_msg
	mdbEntryLen      = 28
)

// membersAt returns the IPv6 groups for which the switch has heard of somebody
// behind a port.
func (l *Lab) membersAt(port netlink.Link) (map[netip.Addr]bool, error) {
	var messages [][]byte
	err := l.sw.run(func() (err error) {
		req := nl.NewNetlinkRequest(unix.RTM_GETMDB, unix.NLM_F_DUMP)
		req.AddRawData(append([]byte{unix.AF_BRIDGE}, make([]byte, portMsgLen-1)...))
		messages, err = req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("multicast groups: %w", err)
	}
	known := make(map[netip.Addr]bool)
	for _, message := range messages {
		err := nested(message[portMsgLen:], mdbaMDB, func(table []byte) error {
			return nested(table, mdbaMDBEntry, func(entries []byte) error {
				return nested(entries, mdbaMDBEntryInfo, func(entry []byte) error {
					// struct br_mdb_entry: index, state, flags, VLAN,
					// address, protocol.
					if len(entry) >= mdbEntryLen &&
						binary.NativeEndian.Uint32(entry) == uint32(port.Attrs().Index) &&
						binary.BigEndian.Uint16(entry[24:]) == unix.ETH_P_IPV6 {
						known[netip.AddrFrom16([16]byte(entry[8:24]))] = true
					}
					return nil
				})
			})
		})
		if err != nil {
			return nil, fmt.Errorf("multicast groups: %w", err)
		}
	}
	return known, nil
}

// nested calls fn with each attribute of a type.
func nested(raw []byte, attrType uint16, fn func(value []byte) error) error {
	attrs, err := nl.ParseRouteAttr(raw)
	if err != nil {
		return err
	}
	for _, attr := range attrs {
		if attr.Attr.Type&nl.NLA_TYPE_MASK == attrType {
			err = errors.Join(err, fn(attr.Value))
		}
	}
	return err
}
