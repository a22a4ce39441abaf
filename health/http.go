package health

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/l2vip/l2vip/internal/conferr"
)

// maxBody is how much of a response's body a check reads, in bytes.
const maxBody = 64 << 10

// HTTP is a probe that sends an HTTP/1.1 request and looks at the status of
// the response. It is also a [Source], with the default timing of [Monitor].
//
// Every check makes a new connection, because a kept one would go on working
// after the server stopped listening. No proxy is used, whatever the
// environment says. Redirects are not followed: a redirect is a response like
// any other, and healthy by default. At most 64 KiB of the body are read; a
// body that breaks off within them is a failure.
type HTTP struct {
	// URL is what is asked for; required, with scheme http or https.
	URL string
	// Method is the request's method; empty means GET.
	Method string
	// Host is sent in the Host header; empty means the host of URL.
	Host string
	// Header holds further headers to send. It is not modified.
	Header http.Header
	// MinStatus is the lowest healthy status; 0 means 200.
	MinStatus int
	// MaxStatus is the highest healthy status; 0 means 399.
	MaxStatus int
	// TLS is used for https; nil means the zero value: the certificate must
	// be valid for the host of URL, by the system's roots. It is not modified.
	TLS *tls.Config
}

// Validate returns all that is wrong with the configuration, each finding as a
// [*ConfigError].
func (h HTTP) Validate() error {
	var l conferr.List
	if u, err := url.Parse(h.URL); h.URL == "" {
		l.Addf("URL", "required")
	} else if err != nil {
		l.Addf("URL", "%w", err)
	} else {
		if u.Scheme != "http" && u.Scheme != "https" {
			l.Addf("URL", "scheme %q is neither http nor https", u.Scheme)
		}
		if u.Hostname() == "" {
			l.Addf("URL", "no host in %q", u.Redacted())
		}
	}
	if _, err := http.NewRequest(h.Method, "", nil); err != nil {
		l.Addf("Method", "%w", err)
	}
	low, high := h.statuses()
	if low < 100 || low > 999 {
		l.Addf("MinStatus", "%d is no status", low)
	}
	if high < 100 || high > 999 {
		l.Addf("MaxStatus", "%d is no status", high)
	}
	if low > high {
		l.Addf("MaxStatus", "%d is below the lowest healthy status, %d", high, low)
	}
	return l.Err()
}

// Run checks in a [Monitor] with default timing. It fails only if the
// configuration is not valid.
func (h HTTP) Run(ctx context.Context, report func(State)) error {
	if err := h.Validate(); err != nil {
		return err
	}
	return Check(h.Check).Run(ctx, report)
}

// Check sends one request and returns nil if the response is healthy. It ends
// when ctx does, and has no time limit of its own.
func (h HTTP) Check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, h.Method, h.URL, nil)
	if err != nil {
		return err
	}
	req.Header = h.Header.Clone()
	req.Host = cmp.Or(h.Host, req.Host)

	transport := &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxBody,
		Protocols:              new(http.Protocols),
		TLSClientConfig:        h.TLS.Clone(),
	}
	transport.Protocols.SetHTTP1(true)
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return withoutLocalPort(err)
	}
	defer resp.Body.Close()

	if low, high := h.statuses(); resp.StatusCode < low || resp.StatusCode > high {
		return fmt.Errorf("%s %s: status %d, not from %d to %d", req.Method, req.URL.Redacted(), resp.StatusCode, low, high)
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)); err != nil {
		return fmt.Errorf("%s %s: reading the body: %w", req.Method, req.URL.Redacted(), withoutLocalPort(err))
	}
	return nil
}

// statuses returns the lowest and the highest healthy status.
func (h HTTP) statuses() (low, high int) {
	return cmp.Or(h.MinStatus, http.StatusOK), cmp.Or(h.MaxStatus, 399)
}

// withoutLocalPort takes our own end of the connection out of err's text: its
// port differs each time, and each would make a new reason.
func withoutLocalPort(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		op.Source = nil
	}
	return err
}
