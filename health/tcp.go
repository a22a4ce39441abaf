package health

import (
	"context"
	"net"
	"strconv"

	"github.com/l2vip/l2vip/internal/conferr"
)

// TCP is a probe that makes a connection and closes it again. It is also a
// [Source], with the default timing of [Monitor].
//
// The kernel accepts connections for an application that listens but hangs;
// only [HTTP] or a [Check] of your own sees that.
type TCP struct {
	// Address is where to connect to, as host:port; required. An empty host
	// means this one.
	Address string
}

// Validate returns a [*ConfigError] if the address is not one.
func (t TCP) Validate() error {
	var l conferr.List
	if _, port, err := net.SplitHostPort(t.Address); t.Address == "" {
		l.Addf("Address", "required")
	} else if err != nil {
		l.Addf("Address", "%w", err)
	} else if n, err := strconv.Atoi(port); port == "" || err == nil && (n < 1 || n > 65535) {
		l.Addf("Address", "%q is no port", port)
	}
	return l.Err()
}

// Run checks in a [Monitor] with default timing. It fails only if the
// configuration is not valid.
func (t TCP) Run(ctx context.Context, report func(State)) error {
	if err := t.Validate(); err != nil {
		return err
	}
	return Check(t.Check).Run(ctx, report)
}

// Check makes one connection and returns nil if that succeeds. It ends when
// ctx does, and has no time limit of its own but the kernel's.
func (t TCP) Check(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return withoutLocalPort(err)
	}
	return conn.Close()
}
