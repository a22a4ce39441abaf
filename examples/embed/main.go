// Embed is an HTTP server that carries its own address: run it on several
// machines of a network, and one of them answers for the address. When that one
// is stopped or fails, another takes over. The machines find each other.
//
//	go build ./examples/embed
//	sudo ./embed -address 192.168.122.100
//
// Then, from elsewhere on the network:
//
//	curl http://192.168.122.100:8080/
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/health"
)

func main() {
	var address netip.Addr
	flag.TextVar(&address, "address", address, "`address` that the server carries")
	name := flag.String("interface", "", "network interface to announce it on; if empty, each with its subnet")
	flag.Parse()
	config := l2vip.Config{
		Services: []l2vip.Service{{
			Addresses: []netip.Addr{address},
			Health:    health.HTTP{URL: "http://127.0.0.1:8080/"}, // the server below
		}},
	}
	if *name != "" {
		config.Interfaces = []string{*name}
	}
	runner, err := l2vip.New(config)
	if err != nil {
		log.Fatal(err)
	}
	if err := serve(runner); err != nil {
		log.Fatal(err)
	}
}

// serve serves and carries the address until it is interrupted.
func serve(runner *l2vip.Runner) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(hello)}
	served := make(chan error, 1)
	go func() { defer stop(); served <- server.ListenAndServe() }()

	// Run hands the address over before it returns: until then clients come
	// here, so the server stops only afterwards.
	err := errors.Join(runner.Run(ctx), server.Shutdown(context.Background()))
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

func hello(w http.ResponseWriter, _ *http.Request) {
	host, _ := os.Hostname()
	fmt.Fprintf(w, "hello from %s\n", host)
}
