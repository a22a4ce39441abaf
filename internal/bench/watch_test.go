package main

import (
	"net"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/stretchr/testify/require"
)

func TestQuestionsAndAnswers(t *testing.T) {
	here, there := net.HardwareAddr{2, 0, 0, 0, 0, 5}, net.HardwareAddr{2, 0, 0, 0, 0, 1}
	reply := func(n int) []byte {
		inner, err := arp.NewPacket(arp.OperationReply, there, vip, here, asker(n))
		require.NoError(t, err)
		payload, err := inner.MarshalBinary()
		require.NoError(t, err)
		frame, err := (&ethernet.Frame{Destination: here, Source: there, EtherType: ethernet.EtherTypeARP, Payload: payload}).MarshalBinary()
		require.NoError(t, err)
		return frame
	}
	gratuitous := func() []byte {
		inner, err := arp.NewPacket(arp.OperationRequest, there, vip, make(net.HardwareAddr, 6), vip)
		require.NoError(t, err)
		payload, err := inner.MarshalBinary()
		require.NoError(t, err)
		frame, err := (&ethernet.Frame{Destination: ethernet.Broadcast, Source: there, EtherType: ethernet.EtherTypeARP, Payload: payload}).MarshalBinary()
		require.NoError(t, err)
		return frame
	}
	asked, err := question(here, 7)
	require.NoError(t, err)

	var s sighting
	for range askers + 10 {
		s.Asked = append(s.Asked, 0)
	}
	s.take(1, asked) // another's question is neither
	s.take(2, reply(7))
	s.take(3, reply(50))
	s.take(4, gratuitous())
	s.take(5, gratuitous()[:30])
	s.take(6, nil)
	require.Equal(t, []answer{{askers + 7, 2, there.String()}, {50, 3, there.String()}}, s.Answers)
	require.Equal(t, []claim{{4, there.String()}}, s.Claims)
}
