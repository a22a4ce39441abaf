package testnet

import (
	"fmt"
	"os"
)

// TB is what [Require] needs of a [testing.TB].
type TB interface {
	Helper()
	Skip(args ...any)
	Fatal(args ...any)
}

// Require skips a test where no lab can be built, and says why. With
// L2VIP_WIRE=require in the environment it fails the test instead.
func Require(tb TB) {
	tb.Helper()
	err := Available()
	if err == nil {
		return
	}
	reason := fmt.Sprintf("needs a lab: %v", err)
	if os.Getenv("L2VIP_WIRE") == "require" {
		tb.Fatal(reason)
	}
	tb.Skip(reason)
}

// Available returns why a lab can't be built here, or nil. It has tried. The
// error wraps [os.ErrPermission] when rights are missing, and
// [errors.ErrUnsupported] when the system has no such thing.
func Available() error { return available() }

// Main runs a program that builds labs, and returns its exit status:
//
//	func main() { os.Exit(testnet.Main(run)) }
//
//	func TestMain(m *testing.M) { os.Exit(testnet.Main(m.Run)) }
//
// With the rights that a lab needs it only calls run. Without them it executes
// the program once more, in a user namespace where it has them and in an empty
// network namespace, and calls run there: with the same arguments,
// environment, directory and standard files. Interrupts and requests to
// terminate are passed on, and the exit status comes back (128 and the signal's
// number for a program killed by a signal). When either of the two is killed,
// so is the other.
//
// Where user namespaces are not allowed run is called as it is; [Available]
// and [NewLab] then say so.
func Main(run func() int) int { return runMain(run) }
