package election_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

var theAddress = netip.MustParseAddr("192.168.122.100")

// TestScenarios reads the files of testdata/view. Each is a story about one
// address, 192.168.122.100, told by a member that watches. A block of lines is a
// moment: a line for each live member, and what follows from them and from the
// moment before:
//
//	a offers, holds, term 3
//	b offers, settled
//	c is draining
//	→ owner a, holder a, term 3, takeover
//
// A line "# text" is a comment, "quorum N" sets the least number of members, and
// "anew" begins another story, with a watcher that has seen nothing.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/view/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			var view *election.View
			var policy election.Policy
			var live []election.Offer
			for i, line := range strings.Split(string(text), "\n") {
				at := fmt.Sprintf("%s:%d", file, i+1)
				switch word, rest, _ := strings.Cut(line, " "); word {
				case "", "#":
				case "anew":
					view, live = nil, nil
				case "quorum":
					policy.MinMembers, err = strconv.Atoi(rest)
					require.NoError(t, err, at)
				case "→":
					// The order in which the offers come never matters.
					next := view.Next(policy, live)
					slices.Reverse(live)
					require.Equal(t, next.Decisions(), view.Next(policy, live).Decisions(), at)
					assert.Equal(t, rest, outcome(next), at)
					view, live = next, nil
				default:
					o, err := parseOffer(word, rest)
					require.NoError(t, err, at)
					live = append(live, o)
				}
			}
			require.Empty(t, live, "%s: the last moment has no outcome", file)
		})
	}
}

// outcome tells of the decision what a story tells.
func outcome(v *election.View) string {
	d, ok := v.Owner(theAddress)
	if !ok {
		return "not configured"
	}
	name := func(node string) string {
		if node == "" {
			return "nobody"
		}
		return node
	}
	words := []string{"owner " + name(d.Owner), "holder " + name(d.Holder)}
	if d.Holders > 1 {
		words = append(words, fmt.Sprintf("of %d", d.Holders))
	}
	if d.Term > 0 {
		words = append(words, fmt.Sprintf("term %d", d.Term))
	}
	if d.Takeover {
		words = append(words, "takeover")
	}
	if d.Service != "web" {
		words = append(words, "for "+d.Service)
	}
	return strings.Join(words, ", ")
}

// parseOffer returns the offer of node that the words describe.
func parseOffer(node, text string) (election.Offer, error) {
	o := election.Offer{Node: node, Instance: 1, Revision: 1, Members: 3}
	if text == "has said nothing" {
		return o, nil
	}
	if text == "has restarted" {
		o.Instance++
		return o, nil
	}
	e := election.Entry{Addr: theAddress, Service: "web", Reason: 99}
	for _, words := range strings.Split(text, ", ") {
		var err error
		number := func(bits int) uint64 {
			var n uint64
			n, err = strconv.ParseUint(words[strings.LastIndexByte(words, ' ')+1:], 10, bits)
			return n
		}
		verb, object, _ := strings.Cut(words, " ")
		switch verb {
		case "offers":
			e.Reason = election.Offered
		case "is": // a reason why not
			e.Reason, err = parseReason(object)
		case "holds":
			e.Holds = true
		case "settled":
			e.Settled = true
		case "isolated":
			e.Isolated = true
		case "from":
			e.From = object
		case "for":
			e.Service = object
		case "term":
			e.Term = number(64)
		case "weight":
			e.Weight = uint32(number(32))
		case "saw":
			o.Members = uint32(number(32))
		case "instance":
			o.Instance = number(64)
		case "revision":
			o.Revision = number(64)
		default:
			err = fmt.Errorf("what is %q?", words)
		}
		if err != nil {
			return o, err
		}
	}
	o.Entries = []election.Entry{e}
	return o, nil
}

// parseReason returns the reason that is called so.
func parseReason(name string) (election.Reason, error) {
	for n := range 256 {
		if r := election.Reason(n); r.String() == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("no reason is called %q", name)
}
