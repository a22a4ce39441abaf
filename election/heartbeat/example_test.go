package heartbeat_test

import (
	"fmt"
	"time"

	"github.com/l2vip/l2vip/election/heartbeat"
)

// A member that beats each 2 ms and falls silent, its kernel too, is found out
// after five of them and the time to ask the others.
func ExampleConfig_Detection() {
	c := heartbeat.Config{Interval: 2 * time.Millisecond, Misses: 5}
	fmt.Println(c.Detection())
	// Output: 12ms
}
