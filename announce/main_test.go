package announce_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/l2vip/l2vip/internal/testnet"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(roles[role]())
	}
	os.Exit(testnet.Main(func() int {
		status := m.Run()
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return status
	}))
}

// roleEnv makes the test binary a program of a lab instead: see roles.
const roleEnv = "ANNOUNCE_ROLE"

// roles are the programs that tests start in a lab.
var roles = map[string]func() int{"speaker": runSpeaker, "speaker6": runSpeaker6, "obedient": runObedient}
