//go:build !linux

package labprog

import "errors"

// Elsewhere there is no lab, and no program to do this to.

func (*Program) Kill() error      { return errors.ErrUnsupported }
func (*Program) Terminate() error { return errors.ErrUnsupported }
func (*Program) Freeze() error    { return errors.ErrUnsupported }
func (*Program) Thaw() error      { return errors.ErrUnsupported }
