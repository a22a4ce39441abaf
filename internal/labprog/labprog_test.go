package labprog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/l2vip/l2vip/internal/labprog"
	"github.com/l2vip/l2vip/internal/testnet"
)

var roles = labprog.Roles{
	// It says its name and ends when its input does.
	"parrot": func(args []string) error {
		fmt.Printf("{\"Name\":%q}\n", args[0])
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	},
	"broken": func([]string) error { return errors.New("no good") },
}

func TestMain(m *testing.M) { os.Exit(labprog.Main(roles, m.Run)) }

// newLab is a lab with a node; the channel has what fails.
func newLab(t *testing.T, log io.Writer) (*labprog.Lab, *testnet.Node, <-chan error) {
	t.Helper()
	testnet.Require(t)
	t.Cleanup(func() { goleak.VerifyNone(t) })
	failures := make(chan error, 10)
	lab, err := labprog.New("labprog-", log, func(err error) { failures <- err })
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, lab.Close())
		require.NoDirExists(t, lab.Dir)
		require.Empty(t, failures)
	})
	node, err := lab.AddNode("node")
	require.NoError(t, err)
	return lab, node, failures
}

// startParrot starts a program that runs until it is ended.
func startParrot(t *testing.T, lab *labprog.Lab, node *testnet.Node) (*labprog.Program, io.Closer) {
	t.Helper()
	cmd, err := labprog.Role("parrot", "Polly")
	require.NoError(t, err)
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	heard := make(chan string, 1)
	cmd.Stdout = labprog.Decode(lab.Fail, func(said struct{ Name string }) { heard <- said.Name })
	p, err := lab.Start(node, "parrot", cmd)
	require.NoError(t, err)
	require.Equal(t, "Polly", <-heard)
	return p, input
}

// A program that ends by itself has failed, even if it says that all is well, and
// one that was to end has not.
func TestEnds(t *testing.T) {
	lab, node, failures := newLab(t, io.Discard)
	for name, end := range map[string]func(*labprog.Program) error{
		"killed":     (*labprog.Program).Kill,
		"terminated": (*labprog.Program).Terminate,
		"thawed":     func(p *labprog.Program) error { return errors.Join(p.Freeze(), p.Terminate(), p.Thaw()) },
	} {
		p, _ := startParrot(t, lab, node)
		require.NoError(t, end(p), name)
		<-p.Done()
		require.NoError(t, end(p), "%s again", name)
	}
	p, input := startParrot(t, lab, node)
	p.MayEnd()
	require.NoError(t, input.Close())
	<-p.Done()
	require.Empty(t, failures)

	_, input = startParrot(t, lab, node)
	require.NoError(t, input.Close())
	require.ErrorContains(t, <-failures, "parrot of node has ended (exit status 0)")
	startParrot(t, lab, node) // ends with the lab
}

// What a program wrote to its standard error is told when it has failed, and
// goes to the log and to whoever else wants it.
func TestSaid(t *testing.T) {
	var log, also bytes.Buffer
	lab, node, failures := newLab(t, labprog.Shared(&log))
	cmd, err := labprog.Role("broken")
	require.NoError(t, err)
	cmd.Stderr = &also
	_, err = lab.Start(node, "clock", cmd)
	require.NoError(t, err)
	require.EqualError(t, <-failures, "clock of node has ended (exit status 1)\nno good\n")
	require.Equal(t, "no good\n", log.String())
	require.Equal(t, "no good\n", also.String())

	cmd, err = labprog.Role("broken")
	require.NoError(t, err)
	cmd.Path = "/nowhere"
	_, err = lab.Start(node, "clock", cmd)
	require.ErrorContains(t, err, "clock of node: ")
}

func TestFind(t *testing.T) {
	require.NotEmpty(t, labprog.Find("go"))
	require.Empty(t, labprog.Find("no-such-program"))
}

func TestLines(t *testing.T) {
	var lines []string
	w := labprog.Lines(func(line []byte) { lines = append(lines, string(line)) })
	for _, part := range []string{"a", "b\nc\n\nd", "e\n", "f"} {
		n, err := io.WriteString(w, part)
		require.NoError(t, err)
		require.Equal(t, len(part), n)
	}
	require.Equal(t, []string{"ab", "c", "", "de"}, lines)
}

func TestDecode(t *testing.T) {
	var numbers []int
	var failures []error
	w := labprog.Decode(func(err error) { failures = append(failures, err) }, func(n int) { numbers = append(numbers, n) })
	_, err := io.WriteString(w, "1\ntwo\n3\n")
	require.NoError(t, err)
	require.Equal(t, []int{1, 3}, numbers)
	require.Len(t, failures, 1)
	require.ErrorContains(t, failures[0], `a program says "two": invalid character`)
}

func TestBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var board struct {
			labprog.Board
			drops int
		}
		board.Patience = 15 * time.Second
		for i := range 3 {
			time.AfterFunc(time.Duration(i)*time.Second, func() { board.Update(func() { board.drops++ }) })
		}
		begun := time.Now()
		require.NoError(t, board.Wait(t.Context(), "it rained", func() bool { return board.drops == 3 }))
		require.Equal(t, 2*time.Second, time.Since(begun))

		never := func() bool { return false }
		require.EqualError(t, board.Wait(t.Context(), "it snowed", never), "waited 15s until it snowed")
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("a program has ended")
		time.AfterFunc(time.Second, func() { cancel(why) })
		require.ErrorIs(t, board.Wait(ctx, "it snowed", never), why)
	})
}
