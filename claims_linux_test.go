package l2vip_test

import (
	"net"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv6"
)

// wire is what the client hears and says itself, beside its kernel.
type wire struct {
	*fronts
	net.PacketConn
}

// wire opens a port on the client's interface.
func (f *fronts) wire() *wire {
	f.Helper()
	port, err := f.client.Frames()
	require.NoError(f, err)
	f.Cleanup(func() { _ = port.Close() })
	return &wire{f, port}
}

// claim is a frame in which a station says that it has vip.
type claim struct {
	station   string // by its hardware address
	announces bool   // to all, and is no answer
}

// next returns the next claim that comes before the deadline.
func (w *wire) next(deadline time.Time) (claim, error) {
	if err := w.SetReadDeadline(deadline); err != nil {
		return claim{}, err
	}
	for buf := make([]byte, 2048); ; {
		n, _, err := w.ReadFrom(buf)
		if err != nil {
			return claim{}, err
		}
		if c, ok := w.read(buf[:n]); ok {
			return c, nil
		}
	}
}

// read reads a frame, and reports whether it is a claim of a station other than
// the client.
func (w *wire) read(b []byte) (claim, bool) {
	var frame ethernet.Frame
	if frame.UnmarshalBinary(b) != nil || frame.Source.String() == w.client.HardwareAddr.String() {
		return claim{}, false
	}
	if w.vip.Is6() {
		if frame.EtherType != ethernet.EtherTypeIPv6 || len(frame.Payload) <= ipv6.HeaderLen || frame.Payload[6] != 58 {
			return claim{}, false
		}
		message, err := ndp.ParseMessage(frame.Payload[ipv6.HeaderLen:])
		na, ok := message.(*ndp.NeighborAdvertisement)
		if err != nil || !ok || na.TargetAddress != w.vip || len(na.Options) != 1 {
			return claim{}, false
		}
		option, ok := na.Options[0].(*ndp.LinkLayerAddress)
		return claim{option.Addr.String(), !na.Solicited}, ok
	}
	var p arp.Packet
	if frame.EtherType != ethernet.EtherTypeARP || p.UnmarshalBinary(frame.Payload) != nil || p.SenderIP != w.vip {
		return claim{}, false
	}
	return claim{p.SenderHardwareAddr.String(), p.TargetIP == w.vip}, true
}

// ask asks all stations once who has vip.
func (w *wire) ask() error {
	frame := ethernet.Frame{Destination: ethernet.Broadcast, Source: w.client.HardwareAddr}
	own := w.client.Addrs[0]
	if w.vip.Is6() {
		group, err := ndp.SolicitedNodeMulticast(w.vip)
		if err != nil {
			return err
		}
		message, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{
			TargetAddress: w.vip,
			Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: w.client.HardwareAddr}},
		}, own, group)
		if err != nil {
			return err
		}
		header := []byte{6 << 4, 0, 0, 0, 0, byte(len(message)), 58, 255}
		header = append(append(header, own.AsSlice()...), group.AsSlice()...)
		frame.EtherType, frame.Payload = ethernet.EtherTypeIPv6, append(header, message...)
		frame.Destination = append(net.HardwareAddr{0x33, 0x33}, group.AsSlice()[12:]...)
	} else {
		p, err := arp.NewPacket(arp.OperationRequest, w.client.HardwareAddr, own, make(net.HardwareAddr, 6), w.vip)
		if err != nil {
			return err
		}
		frame.EtherType = ethernet.EtherTypeARP
		if frame.Payload, err = p.MarshalBinary(); err != nil {
			return err
		}
	}
	b, err := frame.MarshalBinary()
	if err != nil {
		return err
	}
	_, err = w.WriteTo(b, &packet.Addr{HardwareAddr: frame.Destination})
	return err
}

// answered asks once, waits for the answer of the speaker, and returns all claims
// until then.
func (w *wire) answered(s *speaker) (claims []claim) {
	w.Helper()
	require.NoError(w, w.ask())
	return w.until(claim{station: s.node.HardwareAddr.String()})
}

// until returns all claims up to the wanted one.
func (w *wire) until(want claim) (claims []claim) {
	w.Helper()
	for deadline := time.Now().Add(patience); ; {
		c, err := w.next(deadline)
		require.NoError(w, err, "no %+v after %+v", want, claims)
		if claims = append(claims, c); c == want {
			return claims
		}
	}
}
