package labprog

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/l2vip/l2vip/internal/testnet"
)

// Roles are what a program can be besides itself, by their names.
type Roles map[string]func(args []string) error

// Main runs a program that has roles, and returns its exit status. It plays the
// role that the first argument names, with the arguments behind that. Otherwise it
// calls run, as [testnet.Main] does.
func Main(roles Roles, run func() int) int {
	if len(os.Args) < 2 || roles[os.Args[1]] == nil {
		return testnet.Main(run)
	}
	if err := roles[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Role is the command that plays a role of this program.
func Role(name string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(self, append([]string{name}, args...)...), nil
}

// Find returns the path of a program of the machine; empty if there is none. The
// search path of an ordinary user often lacks the directories of root's.
func Find(name string) string {
	for _, dir := range []string{"", "/usr/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	return ""
}
