//go:build !linux

package announce

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

func (a *Announcer) run(context.Context, func(Facts)) error {
	return fmt.Errorf("announce: %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// port is an interface in use; there is none here.
type port struct{}

func (*port) fill([]Assignment, Bind) {}

func (*port) overruns() {}
