package health_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/l2vip/l2vip/health"
)

// A function of your own is a source, with default timing.
func ExampleCheck() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	var source health.Source = health.Check(func(ctx context.Context) error {
		return errors.New("the cache is still cold")
	})
	err := source.Run(ctx, func(s health.State) {
		fmt.Printf("ready: %v, because %s\n", s.Ready, s.Reason)
		cancel()
	})
	fmt.Println(err)
	// Output:
	// ready: false, because the cache is still cold
	// <nil>
}

// A Monitor sets the timing of a probe.
func ExampleMonitor() {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	monitor := health.Monitor{
		Check:    health.HTTP{URL: server.URL, MinStatus: 404, MaxStatus: 404}.Check,
		Interval: 50 * time.Millisecond,
		Timeout:  10 * time.Second,
		Fall:     3,
	}
	_ = monitor.Run(ctx, func(s health.State) {
		fmt.Println("ready:", s.Ready)
		cancel()
	})
	// Output: ready: true
}

// Validate names everything that is wrong, with its path.
func ExampleHTTP_Validate() {
	fmt.Println(health.HTTP{URL: "localhost/healthz", MaxStatus: 20}.Validate())
	// Output:
	// URL: scheme "" is neither http nor https
	// URL: no host in "localhost/healthz"
	// MaxStatus: 20 is no status
	// MaxStatus: 20 is below the lowest healthy status, 200
}

func ExampleTCP() {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()

	probe := health.TCP{Address: server.Listener.Addr().String()}
	fmt.Println(probe.Check(context.Background()))
	// Output: <nil>
}

// The program says itself when it is ready.
func ExampleSwitch() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	var ready health.Switch
	ready.Set(health.State{Ready: true})
	_ = ready.Run(ctx, func(s health.State) {
		fmt.Printf("%+v\n", s)
		if s.Ready {
			ready.Set(health.State{Reason: "reloading"})
		} else {
			cancel()
		}
	})
	// Output:
	// {Ready:true Score:0 Reason:}
	// {Ready:false Score:0 Reason:reloading}
}

// An address that needs both a server and the program's own consent.
func ExampleAll() {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	var consent health.Switch
	consent.Set(health.State{Ready: true, Score: 10})
	source := health.All(&consent, health.TCP{Address: server.Listener.Addr().String()})
	_ = source.Run(ctx, func(s health.State) {
		fmt.Printf("%+v\n", s)
		cancel()
	})
	// Output: {Ready:true Score:10 Reason:}
}
