package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
)

// applications are what the worker runs behind the fronts: app-foo, which is
// /foo for the client, and app-bar.
var applications = []string{"foo", "bar"}

// greeting is what an application answers.
func greeting(app string) string { return "app-" + app + "\n" }

// backend is where an application listens.
func backend(f family, app string) string {
	for i, name := range applications {
		if name == app {
			return netip.AddrPortFrom(f.addr(worker), uint16(8081+i)).String()
		}
	}
	panic("no application " + app)
}

// healthPath is what a front's web server answers by itself, whatever the
// applications do.
const healthPath = "/healthz"

// listen is where the web server of a front listens.
func (f family) listen() string { return netip.AddrPortFrom(f.all, 80).String() }

// healthURL is where its own node asks for healthPath.
func (f family) healthURL() string {
	return "http://" + netip.AddrPortFrom(f.loopback, 80).String() + healthPath
}

// runApp is an application on the worker.
func runApp(args []string) error {
	flags := flag.NewFlagSet("app", flag.ExitOnError)
	var f family
	familyFlag(flags, &f)
	name := flags.String("name", "", "name of the application")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return http.ListenAndServe(backend(f, *name), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, greeting(*name))
	}))
}

// runProxy is the web server of a front where there is no nginx.
func runProxy(args []string) error {
	flags := flag.NewFlagSet("proxy", flag.ExitOnError)
	var f family
	familyFlag(flags, &f)
	front := flags.String("front", "", "name of the front")
	pidFile := flags.String("pidfile", "", "where to write the process id")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen())
	if err != nil {
		return err
	}
	if err := os.WriteFile(*pidFile, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return errors.Join(err, listener.Close())
	}
	return http.Serve(listener, proxy(f, *front))
}

// proxy hands requests for an application on to it.
func proxy(f family, front string) http.Handler {
	transport := &http.Transport{MaxIdleConnsPerHost: 16} // and no proxy of the environment
	mux := http.NewServeMux()
	mux.HandleFunc(healthPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, app := range applications {
		forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: backend(f, app)})
		forward.Transport = transport
		mux.HandleFunc("/"+app, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(servedBy, front)
			forward.ServeHTTP(w, r)
		})
	}
	return mux
}
