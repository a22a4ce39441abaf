package gossip_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/gossip"
)

// Two members on one machine find each other. On machines of their own, each
// would only name the peers.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	peers := []string{"127.0.0.101", "127.0.0.102"}
	seen := make(chan string)
	ended := make(chan error)
	for i, addr := range peers {
		g, err := gossip.New(gossip.Config{
			Peers:   peers,
			Address: netip.MustParseAddr(addr),
		})
		if err != nil {
			log.Fatal(err)
		}
		g.Publish(election.Offer{Revision: 1, Labels: map[string]string{"rack": fmt.Sprint(i)}})
		name := fmt.Sprintf("front-%d", i)
		told := false
		go func() {
			ended <- g.Run(ctx, election.Local{Name: name, Cluster: "example"}, func(m election.Membership) {
				for _, o := range m.Offers {
					if o.Revision > 0 && !told {
						told = true
						go func() { seen <- fmt.Sprintf("%s sees %s in rack %s", name, o.Node, o.Labels["rack"]) }()
					}
				}
			})
		}()
	}
	lines := []string{<-seen, <-seen}
	fmt.Println(min(lines[0], lines[1]))
	fmt.Println(max(lines[0], lines[1]))
	cancel()
	for range peers {
		if err := <-ended; err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// front-0 sees front-1 in rack 1
	// front-1 sees front-0 in rack 0
}
