package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/l2vip/l2vip/internal/labprog"
)

// keepalivedConfig is the configuration of a node. What it leaves out is at
// keepalived's default: five gratuitous ARP at once, a node is dead after three
// adverts, no real-time priority.
//
//   - A node with nopreempt does not take the address back, as l2vip's do not.
//   - The application is watched by a script every second, the shortest
//     interval, and one failure is enough where l2vip needs one; it is given the
//     second failure where l2vip is.
//   - A script that fails puts the node into the state FAULT, which hands over
//     at once.
var keepalivedConfig = template.Must(template.New("keepalived.conf").Parse(`global_defs {
	router_id {{.Name}}
	vrrp_version 3
	script_user root
}
{{if .Script}}
vrrp_script application {
	script "{{.Script}}"
	interval 1
	timeout 1
	fall {{.Fall}}
	rise 1
}
{{end}}
vrrp_instance bench {
	state BACKUP
	nopreempt
	interface eth0
	virtual_router_id 51
	priority {{.Priority}}
	advert_int {{.Advert}}
	virtual_ipaddress {
		{{.Address}}/32
	}
{{- if .Script}}
	track_script {
		application
	}
{{- end}}
}
`))

// keepalivedPriorities are the priorities of the nodes. A backup waits for
// (256-priority)/256 of an advert more before it takes over: so a high one is the
// quickest, and the last node, which never has to lead, is nearly an advert behind:
// enough to hear the first. Where two take over at once, the one that gives way
// may have had the last word with the clients.
var keepalivedPriorities = []int{254, 250, 1}

// keepalived is keepalived as a system, with a time between adverts in seconds.
func keepalived(name, advert string) system {
	return system{
		name: name, peer: true,
		missing: func() error {
			if labprog.Find("keepalived") == "" {
				return errors.New("keepalived is not installed (Debian has a package of that name)")
			}
			return nil
		},
		speaker: func(l *lab, at *machine, told func(standing)) (*exec.Cmd, error) {
			conf, err := keepalivedText(at.Name, at.number, advert, l.check)
			if err != nil {
				return nil, err
			}
			path := filepath.Join(at.dir, "keepalived.conf")
			if err := os.WriteFile(path, conf, 0o600); err != nil {
				return nil, err
			}
			cmd := exec.Command(labprog.Find("keepalived"), "--dont-fork", "--log-console", "--no-syslog", "--vrrp", "--use-file", path,
				"--pid", filepath.Join(at.dir, "keepalived.pid"), "--vrrp_pid", filepath.Join(at.dir, "vrrp.pid"))
			cmd.Stderr = labprog.Lines(func(line []byte) {
				if s, ok := keepalivedState(line); ok {
					told(s)
				}
			})
			return cmd, nil
		},
	}
}

// keepalivedText is the configuration of a node.
func keepalivedText(name string, number int, advert string, watched check) ([]byte, error) {
	script := ""
	if watched != unchecked {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(self, " \"'\\") {
			return nil, fmt.Errorf("keepalived's configuration cannot name %q", self)
		}
		script = self + " check"
	}
	fall := 1
	if watched == checkHTTP {
		fall = 2
	}
	var text bytes.Buffer
	err := keepalivedConfig.Execute(&text, map[string]any{
		"Name": name, "Script": script, "Fall": fall, "Priority": keepalivedPriorities[number], "Advert": advert, "Address": vip,
	})
	return text.Bytes(), err
}

// keepalivedState reads a line of the log, and reports whether it tells of a
// state.
func keepalivedState(line []byte) (standing, bool) {
	for state, s := range map[string]standing{
		"MASTER": {Ready: true, Holds: true},
		"BACKUP": {Ready: true},
		"FAULT":  {},
	} {
		if bytes.Contains(line, []byte("Entering "+state+" STATE")) {
			return s, true
		}
	}
	return standing{}, false
}
