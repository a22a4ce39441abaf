package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Run follows the process until ctx ends. report is called on the goroutine
// that called Run. It fails if the configuration is not valid or the kernel
// does not let it watch processes.
func (p Process) Run(ctx context.Context, report func(State)) error {
	if err := p.Validate(); err != nil {
		return err
	}
	report = changes(report)
	if p.PIDFile != "" {
		return p.followFile(ctx, report)
	}
	return p.followPID(ctx, report)
}

// followPID follows the process with the id PID until it exits.
func (p Process) followPID(ctx context.Context, report func(State)) error {
	proc, err := openPidfd(p.PID)
	if errors.Is(err, unix.ESRCH) {
		report(State{Reason: reason(err)})
		<-ctx.Done()
		return nil
	}
	if err != nil {
		return err
	}
	defer proc.close()
	report(State{Ready: true})
	select {
	case <-ctx.Done():
		return nil
	case <-proc.done:
	}
	if proc.err != nil {
		return fmt.Errorf("process %d: %w", p.PID, proc.err)
	}
	report(State{Reason: fmt.Sprintf("process %d has exited", p.PID)})
	<-ctx.Done()
	return nil
}

// followFile follows the processes that PIDFile names one after another.
func (p Process) followFile(ctx context.Context, report func(State)) error {
	f := follower{path: p.PIDFile}
	defer f.close()
	watch := watchFile(p.PIDFile)
	defer watch.close()
	reread := time.NewTicker(cmp.Or(p.Reread, time.Second))
	defer reread.Stop()
	for {
		watch.aim() // before the look, so that no change falls between them
		state, err := f.look()
		if err != nil {
			return err
		}
		report(state)
		select {
		case <-ctx.Done():
			return nil
		case <-f.exited():
		case <-watch.changed:
		case <-reread.C:
		}
	}
}
