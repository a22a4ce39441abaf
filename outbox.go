package l2vip

import "sync/atomic"

// outbox is what the loop tells those who ask.
type outbox struct {
	ready    chan struct{} // closed when ready
	drained  chan struct{} // closed when a drain has handed everything over
	events   events
	refusals refusals
	status   atomic.Pointer[snapshot]
}

// closeOnce closes the channel, which only one goroutine closes.
func closeOnce(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}
