package health

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

// event returns an inotify event as the kernel writes it.
func event(name string, size uint32) []byte {
	b := make([]byte, unix.SizeofInotifyEvent, unix.SizeofInotifyEvent+size)
	binary.NativeEndian.PutUint32(b[12:], size)
	return append(append(b, name...), make([]byte, int(size)-len(name))...)
}

func TestFileWatchPicksTheEventsOfItsFile(t *testing.T) {
	tests := []struct {
		name   string
		events []byte
		want   bool
	}{
		{"none", nil, false},
		{"another file", event("other.pid", 16), false},
		{"the file", event("app.pid", 16), true},
		{"a longer name", event("app.pid.new", 16), false},
		{"the file among others", slices.Concat(event("other.pid", 32), event("app.pid", 16)), true},
		{"a lost event or directory", event("", 0), true},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, concerns(tt.events, "app.pid"), tt.name)
	}
}
