package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/l2vip/l2vip/health"
)

// checkURL is what the application answers to whoever watches it.
const checkURL = "http://127.0.0.1:8080/"

// runApp is the application of a node: it answers each datagram with the eight
// bytes that it begins with and the node's name, and serves HTTP. It writes its
// pid file and then a line when it does.
func runApp(args []string) error {
	flags := flag.NewFlagSet("app", flag.ExitOnError)
	name := flags.String("name", "", "name of the node")
	pidFile := flags.String("pidfile", "", "where to write the process id")
	if err := flags.Parse(args); err != nil {
		return err
	}
	_ = realTime() // without it it still answers
	// The node may not have the address yet.
	listen := net.ListenConfig{Control: freebind}
	conn, err := listen.ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(vip, appPort).String())
	if err != nil {
		return err
	}
	web, err := net.Listen("tcp4", ":8080")
	if err != nil {
		return err
	}
	if err := os.WriteFile(*pidFile, fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		return err
	}
	fmt.Println("serving")
	failed := make(chan error, 2)
	go func() { failed <- http.Serve(web, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) }()
	go func() { failed <- echo(conn.(*net.UDPConn), *name) }()
	return <-failed
}

// echo answers datagrams until the socket fails.
func echo(conn *net.UDPConn, name string) error {
	buf := append(make([]byte, numberSize), name...)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf[:numberSize])
		if err != nil {
			return err
		}
		if n == numberSize {
			_, _ = conn.WriteToUDPAddrPort(buf, from) // a client that is gone asks again
		}
	}
}

// runCheck is a script of keepalived's: it asks the application once.
func runCheck([]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return health.HTTP{URL: checkURL}.Check(ctx)
}

// runBusy keeps a processor busy until it is killed.
func runBusy([]string) error {
	for i := 0; ; i++ {
	}
}
