package announce

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// setting is a kernel setting that keeps the kernel from answering ARP for the
// addresses on lo, or from using them in its own requests
// (Documentation/networking/ip-sysctl).
type setting struct {
	name string
	want int
	good []int // what does as well
}

var settings = [...]setting{
	{"arp_ignore", 1, []int{1, 2, 3, 8}}, // 4 to 7 are reserved, and hide nothing
	{"arp_announce", 2, []int{2}},
}

// knob is a setting of one interface, or of all.
type knob struct{ interfaceName, setting string }

func (k knob) path() string {
	return "/proc/sys/net/ipv4/conf/" + k.interfaceName + "/" + k.setting
}

// wanted returns what the guard sets it to.
func (k knob) wanted() int {
	for _, s := range settings {
		if s.name == k.setting {
			return s.want
		}
	}
	return 0
}

// String returns the name.
func (k knob) String() string { return sysctlName("ipv4", k.interfaceName, k.setting) }

// sysctlName returns the name of an interface's setting as sysctl(8) has it.
func sysctlName(family, interfaceName, setting string) string {
	return "net." + family + ".conf." + strings.ReplaceAll(interfaceName, ".", "/") + "." + setting
}

func (k knob) read() (int, error) {
	// Not by package os, which would have the runtime wait for such a file: that wakes
	// other threads, each second.
	fd, err := unix.Open(k.path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", k, err)
	}
	defer func() { _ = unix.Close(fd) }()
	b := make([]byte, 32)
	n, err := unix.Read(fd, b)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", k, err)
	}
	b = b[:n]
	value, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", k, err)
	}
	return value, nil
}

func (k knob) write(value int) error {
	return os.WriteFile(k.path(), []byte(strconv.Itoa(value)), 0)
}

// set makes the knob what it has to be, and reads it back.
func (k knob) set(value int) error {
	err := k.write(value)
	if err == nil {
		var after int
		if after, err = k.read(); err == nil && after != value {
			err = fmt.Errorf("it reads %d after that", after)
		}
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("set %s=%d, or the kernel answers for the addresses on lo: %w", k, value, err)
	if errors.Is(err, os.ErrPermission) {
		return &CapabilityError{"CAP_NET_ADMIN", "bind to lo", err}
	}
	return err
}

// guard keeps the kernel silent about the IPv4 addresses on lo. The kernel tells
// nobody of a change of these settings, so that enforce is to be called now and
// then.
type guard struct {
	logger  *slog.Logger
	undo    map[knob]int // what this process changed, with the values it found last
	kept    bool         // all was right when it was last looked at
	repairs uint64       // how often something was not then, and was set again
}

// enforce makes the settings right, for all interfaces and for those named, whose
// own counts if it is larger.
func (g *guard) enforce(interfaces []string) error {
	kept := g.kept
	g.kept = false
	for _, s := range settings {
		all, err := g.correct(s, "all", 0, kept)
		if err != nil {
			return err
		}
		for _, name := range interfaces {
			if _, err := g.correct(s, name, all, kept); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	g.kept = true
	return nil
}

// correct makes one setting right, where at least the value floor holds, and
// returns it.
func (g *guard) correct(s setting, name string, floor int, kept bool) (int, error) {
	k := knob{name, s.name}
	found, err := k.read()
	if err != nil || slices.Contains(s.good, max(floor, found)) {
		return found, err
	}
	if err := k.set(s.want); err != nil {
		return found, err
	}
	g.undo[k] = found
	if kept {
		g.repairs++
		g.logger.Warn("somebody changed a setting so that the kernel answered for addresses on lo; set it again",
			"sysctl", k.String(), "found", found, "set", s.want)
	}
	return s.want, nil
}

// restore sets back what this process changed, and nobody has changed since.
func (g *guard) restore() (err error) {
	for k, value := range g.undo {
		if now, failure := k.read(); failure == nil && now != k.wanted() {
			continue
		}
		if failure := k.write(value); failure != nil && !errors.Is(failure, os.ErrNotExist) { // the interface may be gone
			err = errors.Join(err, fmt.Errorf("restore %s=%d: %w", k, value, failure))
		}
	}
	return err
}
