//go:build !linux

package segment

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/l2vip/l2vip/election"
)

func (s *Segment) runKernel(context.Context, *election.Local, func(Report)) error {
	return fmt.Errorf("segment: packet sockets on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
