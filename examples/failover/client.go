package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	// every is the time from one request to the next.
	every = 5 * time.Millisecond
	// answerWithin is how long a request may take. One that is unanswered then
	// has failed.
	answerWithin = 250 * time.Millisecond

	// host is whom the client asks for; servedBy is the header of the response
	// that names the front.
	host     = "app.example.com"
	servedBy = "Served-By"
)

// runClient is the client: it sends a request on a new connection every 5 ms,
// by a schedule that nothing delays, and prints each as a line of JSON when it
// has ended. It stops when it is killed.
func runClient(args []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	target := flags.String("target", "", "address and port to send requests to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	first()
	var printing sync.Mutex
	out := json.NewEncoder(os.Stdout)
	start := time.Now()
	for number := 0; ; number++ {
		time.Sleep(time.Until(start.Add(time.Duration(number) * every)))
		go func() {
			r := send(*target, number, start)
			printing.Lock()
			defer printing.Unlock()
			_ = out.Encode(r)
		}()
	}
}

// send sends a request and waits for its end.
func send(target string, number int, start time.Time) request {
	sent := time.Now()
	r := request{Number: number, Sent: sent.Sub(start)}
	ctx, cancel := context.WithDeadline(context.Background(), sent.Add(answerWithin))
	defer cancel()
	by, err := ask(ctx, target, applications[number%len(applications)])
	if err != nil {
		r.Error = err.Error()
	}
	r.By = by
	r.Took = max(1, time.Since(sent))
	return r
}

// ask asks for an application on a connection of its own, and returns which
// front has served it.
func ask(ctx context.Context, target, app string) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/"+app, nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK || string(body) != greeting(app) {
		return "", fmt.Errorf("%s: %s", resp.Status, body)
	}
	by := resp.Header.Get(servedBy)
	if by == "" {
		return "", errors.New("the response does not say who served it")
	}
	return by, nil
}
