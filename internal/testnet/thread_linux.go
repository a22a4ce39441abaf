package testnet

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread calls fn on a thread that ends with it, so fn may leave it in any
// namespace. It returns when fn has; when fn exits its goroutine, so does the
// caller.
func onThread(fn func()) {
	finished := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread never ends. While this goroutine occupies
			// it, another one gets another thread.
			onThread(fn)
		} else {
			fn()
		}
		finished = true
	}()
	<-done
	if !finished {
		runtime.Goexit()
	}
}
