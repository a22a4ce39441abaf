package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func caseNamed(t *testing.T, name string) testCase {
	t.Helper()
	chosen, err := choose("", name, cases)
	require.NoError(t, err)
	return chosen[0]
}

func systemNamed(t *testing.T, name string) system {
	t.Helper()
	chosen, err := choose("", name, systems())
	require.NoError(t, err)
	return chosen[0]
}

// sample is five cases with two systems.
func sample(t *testing.T) results {
	t.Helper()
	ours, peer := systems()[0], keepalived("keepalived-10ms", "0.01")
	cut, paused, idle, loss := caseNamed(t, "port-cut"), caseNamed(t, "paused"), caseNamed(t, "idle"), caseNamed(t, "loss")
	var all results
	for _, gap := range []time.Duration{12, 16, 11} {
		all.add(cut, ours, result{Gap: gap * ms, Lost: int(gap) - 1, Announced: gap*ms - 500*time.Microsecond}, nil)
		all.add(cut, peer, result{Gap: 3 * gap * ms, Lost: 3*int(gap) - 1, Announced: -1}, nil)
	}
	all.add(paused, ours, result{Gap: ms, Takeovers: 1}, nil)
	all.add(paused, peer, result{Gap: ms, Takeovers: 3, Strays: 4}, nil)
	all.add(paused, peer, result{}, errors.New("did not start"))
	all.add(caseNamed(t, "mute-holder"), ours, result{Gap: 12 * ms, Lost: 11, Announced: 11 * ms, Takeovers: 2, TwoHolders: 1}, errors.New("two nodes answered 1 question"))
	all.add(loss, ours, result{Seeds: 100, Beats: 3000000, Suspicions: 2}, nil)
	all.add(idle, ours, result{CPU: 20.123, Packets: 96.66}, nil)
	return all
}

func TestTables(t *testing.T) {
	all := sample(t)
	var out strings.Builder
	for _, name := range []string{"port-cut", "paused", "mute-holder", "loss", "idle"} {
		all.printCase(&out, caseNamed(t, name))
	}
	require.Equal(t, `
port-cut: the leader's switch port is cut: it loses its carrier
system              runs     median      worst  announced    lost  of keepalived-10ms
l2vip                  3       12.0       16.0       11.5      36                0.33
keepalived-10ms        3       36.0       48.0          –     114                   –

paused: the leader's speaker is stopped for 5 s and continued
system              runs     median      worst  announced    lost  takeovers  unanswered  strays
l2vip                  1        1.0        1.0          –       0          1           0       0
keepalived-10ms        1        1.0        1.0          –       0          3           0       4  ← 1 failed

mute-holder: nothing that the leader sends arrives any more, it hears all
system              runs     median      worst  announced    lost  takeovers  two holders  of keepalived-10ms
l2vip                  1       12.0       12.0         11      11          2            1                   –  ← 1 failed

loss: simulated hours in which 2% of the frames at the leader's port are lost, two nodes and three
system              runs      seeds         beats  suspicions  takeovers
l2vip                  1        100       3000000           2          0

idle: nothing happens: what three nodes cost together
system              runs      CPU ms/s  packets/s
l2vip                  1         20.12       96.7
`, out.String())

	out.Reset()
	all.printMarkdown(&out, 2)
	_, table, _ := strings.Cut(out.String(), ".\n\n")
	require.Equal(t, "| what happens | l2vip | keepalived-10ms |\n"+
		"|---|---|---|\n"+
		"| the leader's switch port is cut: it loses its carrier (`port-cut`) | 12.0 (16.0), 11 lost | 36.0 (48.0), 35 lost |\n"+
		"| the leader's speaker is stopped for 5 s and continued (`paused`) | 1 takeover, 0 questions unanswered, 0 questions answered by another | 3 takeovers, 0 questions unanswered, 4 questions answered by another, 1 failed |\n"+
		"| nothing that the leader sends arrives any more, it hears all (`mute-holder`) | 12.0 (12.0), 2 takeovers, 1 moment with two holders, 1 failed | – |\n"+
		"| simulated hours in which 2% of the frames at the leader's port are lost, two nodes and three (`loss`) | 0 takeovers in 3000000 simulated beats | – |\n"+
		"| nothing happens: what three nodes cost together (`idle`) | 20.1 ms of CPU and 97 packets a second | – |\n", table)
}

func TestMedian(t *testing.T) {
	require.Equal(t, 3*ms, median([]time.Duration{9 * ms, 1 * ms, 3 * ms}))
	require.Equal(t, 2*ms, median([]time.Duration{3 * ms, 1 * ms}))
	require.Zero(t, median[float64](nil))
}

func TestPicture(t *testing.T) {
	failed := sample(t)
	failed[0].failed++
	for name, tc := range map[string]struct {
		all  results
		says []string
		bars int // of the systems
	}{
		"gaps": {sample(t), []string{
			">median (worst) of 1 to 3 runs<", ">port-cut<", ">the leader&#39;s switch port is<",
			">l2vip<", ">12.0 ms (16.0 ms)<", ">keepalived-10ms<", ">36.0 ms (48.0 ms)<", ">1.0 ms, none lost<",
			">1 ms<", ">100 ms<", ">mute-holder<", ">12.0 ms, 1 failed<",
		}, 5},
		"failed":  {failed[:2], []string{">12.0 ms (16.0 ms), 1 failed<", ">median (worst) of 3 runs<"}, 2},
		"nothing": {nil, []string{">median (worst)<"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			require.NoError(t, drawPicture(&out, tc.all))
			for decoder := xml.NewDecoder(strings.NewReader(out.String())); ; {
				_, err := decoder.Token()
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
			}
			for _, text := range tc.says {
				require.Contains(t, out.String(), text)
			}
			require.NotContains(t, out.String(), ">idle<", "it has no gaps")
			require.NotContains(t, out.String(), "NaN")
			require.Equal(t, 3+tc.bars, strings.Count(out.String(), `class="ours"`)+strings.Count(out.String(), `class="peer"`))
		})
	}
}

func TestFigure(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1 * ms: "1.0 ms", 12940 * time.Microsecond: "12.9 ms", 217300 * time.Microsecond: "217 ms", 3320 * ms: "3.3 s",
	} {
		require.Equal(t, want, figure(d))
	}
}
