package health

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fileWatch tells of changes to a file through inotify on its directory.
type fileWatch struct {
	dir, name string
	fd        int
	file      *os.File      // the inotify instance; nil if none is to be had
	changed   chan struct{} // holds a token after a change
	done      chan struct{} // closed when read has returned
}

// watchFile watches until close. Without an inotify instance, of which a user
// has a limited number, it never tells of anything.
func watchFile(path string) *fileWatch {
	w := &fileWatch{
		dir:     filepath.Dir(path),
		name:    filepath.Base(path),
		changed: make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		close(w.done)
		return w
	}
	w.fd, w.file = fd, os.NewFile(uintptr(fd), "inotify")
	go w.read()
	return w
}

// aim watches the directory that now has the name. It does nothing if that is
// watched already.
func (w *fileWatch) aim() {
	if w.file != nil {
		// An error is a directory that is not there, or not yet.
		_, _ = unix.InotifyAddWatch(w.fd, w.dir, unix.IN_CREATE|unix.IN_MODIFY|unix.IN_MOVED_TO|unix.IN_ONLYDIR)
	}
}

// read passes on the events about the file until close.
func (w *fileWatch) read() {
	defer close(w.done)
	buf := make([]byte, 4096)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		if concerns(buf[:n], w.name) {
			select {
			case w.changed <- struct{}{}:
			default:
			}
		}
	}
}

// concerns says whether any of the events is about the name, or about none: a
// lost event or a lost directory.
func concerns(events []byte, name string) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		about := string(bytes.TrimRight(events[unix.SizeofInotifyEvent:size], "\x00"))
		if about == "" || about == name {
			return true
		}
		events = events[size:]
	}
	return false
}

// close ends watching and waits until it has ended.
func (w *fileWatch) close() {
	if w.file != nil {
		w.file.Close()
	}
	<-w.done
}
