package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeepalivedConfig(t *testing.T) {
	text, err := keepalivedText("node-1", 1, "0.01", unchecked)
	require.NoError(t, err)
	require.Contains(t, string(text), "advert_int 0.01\n")
	require.Contains(t, string(text), "priority 250\n")
	require.Contains(t, string(text), "nopreempt\n")
	require.Contains(t, string(text), "192.168.122.100/32\n")
	require.NotContains(t, string(text), "script \"")
	require.Equal(t, strings.Count(string(text), "{"), strings.Count(string(text), "}"))

	text, err = keepalivedText("node-0", 0, "1", checkHTTP)
	require.NoError(t, err)
	require.Contains(t, string(text), " check\"\n")
	require.Contains(t, string(text), "fall 2\n")
	require.Contains(t, string(text), "track_script {\n\t\tapplication\n")
	require.Equal(t, strings.Count(string(text), "{"), strings.Count(string(text), "}"))

	require.Len(t, keepalivedPriorities, len(trial{}.places()))
}

func TestKeepalivedState(t *testing.T) {
	for line, want := range map[string]standing{
		"Mon Nov 23 04:12:41 2026: (bench) Entering MASTER STATE": {Ready: true, Holds: true},
		"Mon Nov 23 04:12:41 2026: (bench) Entering BACKUP STATE": {Ready: true},
		"Mon Nov 23 04:12:41 2026: (bench) Entering FAULT STATE":  {},
	} {
		got, ok := keepalivedState([]byte(line))
		require.True(t, ok, line)
		require.Equal(t, want, got, line)
	}
	_, ok := keepalivedState([]byte("Mon Nov 23 04:12:41 2026: Startup complete"))
	require.False(t, ok)
}
