//go:build !linux

package health

import "os/exec"

// runGroup runs cmd.
func runGroup(cmd *exec.Cmd) error { return cmd.Run() }
