package health_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/health"
)

// serve runs an HTTP server for the test and counts its connections.
func serve(t *testing.T, handler http.HandlerFunc) (url string, connections *atomic.Int32) {
	connections = new(atomic.Int32)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, connections
}

func TestHTTPLooksAtTheStatus(t *testing.T) {
	tests := []struct {
		status, low, high int
		healthy           bool
	}{
		{status: 200, healthy: true},
		{status: 204, healthy: true},
		{status: 302, healthy: true},
		{status: 399, healthy: true},
		{status: 400},
		{status: 503},
		{status: 404, low: 404, high: 404, healthy: true},
		{status: 200, low: 404, high: 404},
		{status: 302, high: 299},
		{status: 418, high: 499, healthy: true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			url, connections := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
			})
			err := health.HTTP{URL: url, MinStatus: tt.low, MaxStatus: tt.high}.Check(t.Context())
			if tt.healthy {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, fmt.Sprintf("GET %s: status %d, not from", url, tt.status))
			}
			assert.EqualValues(t, 1, connections.Load(), "a redirect is not followed")
		})
	}
}

func TestHTTPSendsWhatIsConfigured(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "PUT" || r.Host != "app.example.com" || r.Header.Get("X-Probe") != "yes" || r.RequestURI != "/healthz?deep=1" {
			http.Error(w, "not as configured", http.StatusBadRequest)
		}
	})
	header := http.Header{"X-Probe": {"yes"}}
	probe := health.HTTP{URL: url + "/healthz?deep=1", Method: "PUT", Host: "app.example.com", Header: header}
	require.NoError(t, probe.Check(t.Context()))
	require.Equal(t, http.Header{"X-Probe": {"yes"}}, header)
}

func TestHTTPMakesANewConnectionEachTime(t *testing.T) {
	url, connections := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if !r.Close {
			panic(http.ErrAbortHandler)
		}
	})
	for range 3 {
		require.NoError(t, health.HTTP{URL: url}.Check(t.Context()))
	}
	require.EqualValues(t, 3, connections.Load())
}

func TestHTTPUsesNoProxy(t *testing.T) {
	proxy, proxied := serve(t, func(http.ResponseWriter, *http.Request) {})
	t.Setenv("HTTP_PROXY", proxy)
	t.Setenv("http_proxy", proxy)
	url, direct := serve(t, func(http.ResponseWriter, *http.Request) {})
	// The standard library uses no proxy for a loopback address, but for this,
	// which also leads to this host.
	url = strings.Replace(url, "127.0.0.1", "0.0.0.0", 1)
	req, err := http.NewRequest("", url, nil)
	require.NoError(t, err)
	wouldUse, err := http.ProxyFromEnvironment(req)
	require.NoError(t, err)
	require.NotNil(t, wouldUse, "else this test shows nothing")

	require.NoError(t, health.HTTP{URL: url}.Check(t.Context()))
	require.EqualValues(t, 1, direct.Load())
	require.Zero(t, proxied.Load())
}

func TestHTTPEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel() // when the check is sure to wait for the response
		<-r.Context().Done()
	})
	require.ErrorIs(t, health.HTTP{URL: url}.Check(ctx), context.Canceled)
}

func TestHTTPTimesOut(t *testing.T) {
	url, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	r := start(t, health.Monitor{Check: health.HTTP{URL: url}.Check, Timeout: 1})
	got := r.next()
	require.False(t, got.Ready)
	require.Contains(t, got.Reason, "no result within 1ns")
}

func TestHTTPReadsABoundedBody(t *testing.T) {
	gone := make(chan struct{})
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(gone)
		for chunk := make([]byte, 1<<10); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	require.NoError(t, health.HTTP{URL: url}.Check(t.Context()))
	<-gone // the check closed the connection
}

func TestHTTPFailsWhenTheBodyBreaksOff(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("half"))
	})
	require.ErrorContains(t, health.HTTP{URL: url}.Check(t.Context()), "reading the body: unexpected EOF")
}

func TestHTTPKeepsItsReasonWhileTheCauseIsTheSame(t *testing.T) {
	url, connections := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0) // closing resets the connection
			_ = conn.Close()
		}
	})
	probe := health.HTTP{URL: url}
	first, second := probe.Check(t.Context()), probe.Check(t.Context())
	require.ErrorContains(t, first, "connection reset by peer")
	require.EqualError(t, second, first.Error())
	require.EqualValues(t, 2, connections.Load())
}

func TestHTTPChecksCertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = discard
	server.StartTLS()
	defer server.Close()
	var unknown *tls.CertificateVerificationError
	require.ErrorAs(t, health.HTTP{URL: server.URL}.Check(t.Context()), &unknown)

	config := server.Client().Transport.(*http.Transport).TLSClientConfig
	before := config.Clone()
	require.NoError(t, health.HTTP{URL: server.URL, TLS: config}.Check(t.Context()))
	require.Equal(t, before.NextProtos, config.NextProtos, "not modified")
}

func TestHTTPNoticesThatTheListenerIsGone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := start(t, health.Monitor{Check: health.HTTP{URL: server.URL}.Check, Interval: 1, Timeout: 1 << 40})
	require.True(t, r.next().Ready)
	server.Close()
	got := r.next()
	require.False(t, got.Ready)
	require.NotEmpty(t, got.Reason)
}

func TestHTTPNamesAllThatIsWrong(t *testing.T) {
	tests := []struct {
		probe health.HTTP
		want  []string
	}{
		{health.HTTP{}, []string{"URL"}},
		{health.HTTP{URL: "http://[::1"}, []string{"URL"}},
		{health.HTTP{URL: "localhost:80"}, []string{"URL", "URL"}},
		{health.HTTP{URL: "https:///healthz"}, []string{"URL"}},
		{health.HTTP{URL: "gopher://x/", Method: "B D", MinStatus: 1, MaxStatus: 1000}, []string{"URL", "Method", "MinStatus", "MaxStatus"}},
		{health.HTTP{URL: "http://x", MinStatus: 400}, []string{"MaxStatus"}},
		{health.HTTP{URL: "https://x:8443/healthz", Method: "HEAD", MinStatus: 204, MaxStatus: 204}, nil},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, findings(tt.probe.Validate()), "%+v", tt.probe)
		if tt.want != nil {
			assert.EqualError(t, tt.probe.Run(t.Context(), nil), tt.probe.Validate().Error())
		}
	}
	assert.Error(t, health.HTTP{URL: "http://[::1"}.Check(t.Context()))
	assert.NotContains(t, health.HTTP{URL: "http://me:secret@"}.Validate().Error(), "secret")
}
