package election_test

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/l2vip/l2vip/election"
)

// The test vectors of hash version 1. They are part of the protocol between
// members: a change of any would give members of different releases different
// owners. They were computed apart from this package.
var vectors = []struct {
	node, addr string
	score      uint64
}{
	{"front-0", "192.168.122.100", 0x5b5db562d393783d},
	{"front-1", "192.168.122.100", 0xeb67690b272ca5da},
	{"front-2", "192.168.122.100", 0x9a4797fe9735a32a},
	{"front-2", "192.168.122.101", 0xfad0bd9d2ab24951},
	{"front-2", "::ffff:192.168.122.101", 0xfad0bd9d2ab24951},
	{"front-2", "10.0.0.0", 0xa5cca4b152513dc9},
	{"front-2", "fd00::1", 0x3042292c6a8149d3},
	{"wörker", "2001:db8::ffff", 0xacb822dbbd0319b2},
	{"a\x00b", "fe80::1", 0x817967ec4df055e2},
	{"a-very-long-name.of-a-node.in-some-domain.example.com", "255.255.255.255", 0x2e43f94e5005d5cb},
	{"", "0.0.0.0", 0x4d20d9bb912c7e25},
	{"", "::", 0xbf2ed99dd3c945e8},
}

func TestScoreVectors(t *testing.T) {
	assert.Equal(t, 1, election.HashVersion)
	for _, v := range vectors {
		assert.Equal(t, v.score, election.Score(v.node, netip.MustParseAddr(v.addr)), "%q %s", v.node, v.addr)
	}
}

// Among nodes and addresses whose names differ by a digit each node owns its
// even share: as even as chance alone would make it, for which chi-squared per
// degree of freedom is 1 give or take sqrt(2/degrees).
func TestScoreIsEven(t *testing.T) {
	for _, scheme := range []string{"n%d", "front-%d", "%d", "node%03d.rack-7.example.com"} {
		for _, nodes := range []int{2, 3, 10, 50} {
			for _, base := range []string{"10.0.0.0", "192.168.122.100", "fd00::", "2001:db8:1:2:3:4:5:6"} {
				const perNode = 200
				names := make([]string, nodes)
				for i := range names {
					names[i] = fmt.Sprintf(scheme, i)
				}
				owned := make([]float64, nodes)
				addr := netip.MustParseAddr(base)
				for range perNode * nodes {
					first, highest := 0, uint64(0)
					for i := range names {
						if score := election.Score(names[i], addr); score > highest {
							first, highest = i, score
						}
					}
					owned[first]++
					addr = addr.Next()
				}
				chi := 0.0
				for _, n := range owned {
					chi += (n - perNode) * (n - perNode) / perNode
					assert.InDelta(t, perNode, n, 6*math.Sqrt(perNode), "the share of a node")
				}
				degrees := float64(nodes - 1)
				assert.Less(t, chi/degrees, 1+5*math.Sqrt(2/degrees), "%s, %d nodes, from %s", scheme, nodes, base)
			}
		}
	}
}

func TestScoreAllocatesNothing(t *testing.T) {
	addr := netip.MustParseAddr("fd00::1")
	assert.Zero(t, testing.AllocsPerRun(100, func() { election.Score("front-0", addr) }))
}
