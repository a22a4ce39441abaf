package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
)

// applications are what the worker runs behind the fronts: app-foo, which is
// /foo for the client, and app-bar.
var applications = []string{"foo", "bar"}

// greeting is what an application answers.
func greeting(app string) string { return "app-" + app + "\n" }

// backend is where an application listens.
func backend(app string) string {
	for i, name := range applications {
		if name == app {
			return net.JoinHostPort(worker.addr, strconv.Itoa(8081+i))
		}
	}
	panic("no application " + app)
}

// healthPath is what a front's web server answers by itself, whatever the
// applications do.
const healthPath = "/healthz"

// runApp is an application on the worker.
func runApp(args []string) error {
	flags := flag.NewFlagSet("app", flag.ExitOnError)
	name := flags.String("name", "", "name of the application")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return http.ListenAndServe(backend(*name), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, greeting(*name))
	}))
}

// runProxy is the web server of a front where there is no nginx.
func runProxy(args []string) error {
	flags := flag.NewFlagSet("proxy", flag.ExitOnError)
	front := flags.String("front", "", "name of the front")
	pidFile := flags.String("pidfile", "", "where to write the process id")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", ":80")
	if err != nil {
		return err
	}
	if err := os.WriteFile(*pidFile, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return errors.Join(err, listener.Close())
	}
	return http.Serve(listener, proxy(*front))
}

// proxy hands requests for an application on to it.
func proxy(front string) http.Handler {
	transport := &http.Transport{MaxIdleConnsPerHost: 16} // and no proxy of the environment
	mux := http.NewServeMux()
	mux.HandleFunc(healthPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, app := range applications {
		forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: backend(app)})
		forward.Transport = transport
		mux.HandleFunc("/"+app, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(servedBy, front)
			forward.ServeHTTP(w, r)
		})
	}
	return mux
}
