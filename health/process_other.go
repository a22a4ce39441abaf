//go:build !linux

package health

import (
	"context"
	"errors"
	"fmt"
)

// Run returns an error: following a process needs Linux.
func (p Process) Run(context.Context, func(State)) error {
	return fmt.Errorf("health: following a process needs Linux: %w", errors.ErrUnsupported)
}
