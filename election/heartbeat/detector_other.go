//go:build !linux

package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

func (d *Detector) run(context.Context, string, func([]Peer)) error {
	return fmt.Errorf("heartbeat: %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
