package health_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/l2vip/l2vip/health"
)

func ExampleExec() {
	probe := health.Exec{Command: []string{"sh", "-c", "echo disk full >&2; exit 2"}}
	fmt.Println(probe.Check(context.Background()))
	// Output: sh: exit status 2: disk full
}

// The exit of a process is known as it happens.
func ExampleProcess() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	app := exec.Command("sleep", "1000")
	if err := app.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer app.Wait()
	_ = health.Process{PID: app.Process.Pid}.Run(ctx, func(s health.State) {
		fmt.Println("ready:", s.Ready)
		if s.Ready {
			_ = app.Process.Signal(os.Interrupt)
		} else {
			cancel()
		}
	})
	// Output:
	// ready: true
	// ready: false
}
