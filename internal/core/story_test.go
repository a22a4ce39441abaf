package core_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the outcomes of the stories")

// TestStories reads the files of testdata/stories. Each is a story of node a. A block
// of lines is a moment: what happens, in words that world.happen knows, and after
// "→" what follows: what the node tells, with the time since the story began, then
// for each address its phase, what the announcer shall do and what the node offers,
// and when time alone changes something.
//
//	b beats on eth0
//	b tells vip: offers, holds, term 3
//	→ 0s: b is live
//	→ ...
//	→ vip: standby; standby; offers, term 3
//
// Time passes with "300ms pass", which is the last line of its block, with a step at
// each deadline on the way. The announcer takes up at once what it is told. A line
// "# text" is a comment, and "anew" begins another story.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			golden := tellStory(t, file, string(text))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(golden), 0o644))
				return
			}
			require.Equal(t, string(text), golden, "what follows has changed: see -update")
		})
	}
}

// tellStory returns the story with what follows from it.
func tellStory(t *testing.T, file, text string) string {
	w := newWorld()
	var told []string
	moment, passed := false, false
	conclude := func(at string) {
		if !moment {
			return
		}
		require.NoError(t, w.settle(), at)
		for _, line := range w.outcome() {
			told = append(told, "→ "+line)
		}
		moment, passed = false, false
	}
	for i, line := range strings.Split(text, "\n") {
		at := fmt.Sprintf("%s:%d", file, i+1)
		switch {
		case strings.HasPrefix(line, "→"):
			continue
		case line == "" || strings.HasPrefix(line, "#"):
			conclude(at)
		case line == "anew":
			conclude(at)
			w = newWorld()
		default:
			require.False(t, passed, "%s: time passes in the last line of a block", at)
			require.NoError(t, w.happen(line), at)
			moment, passed = true, strings.HasSuffix(line, " pass")
		}
		told = append(told, line)
	}
	conclude(file)
	return strings.TrimRight(strings.Join(told, "\n"), "\n") + "\n"
}
