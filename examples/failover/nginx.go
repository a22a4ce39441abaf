package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

// nginxConfig is one process in the foreground: a worker of a killed nginx
// would serve on without its master, and outlive this program. Everything that
// it writes is below the directory that it is started with. It runs as root, who
// in the lab of an ordinary user is that user, and the only one.
var nginxConfig = template.Must(template.New("nginx.conf").Parse(`user root;
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;

events {
	worker_connections 1024;
}

http {
	access_log off;
	client_body_temp_path client_body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
{{range .Applications}}
	upstream app-{{.Name}} {
		server {{.Backend}};
		keepalive 16;
	}
{{end}}
	server {
		listen {{.Listen}};
		server_name {{.Host}};
		add_header {{.ServedBy}} {{.Front}};

		location = {{.HealthPath}} {
			return 204;
		}
{{- range .Applications}}
		location = /{{.Name}} {
			proxy_pass http://app-{{.Name}};
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
		}
{{- end}}
	}
}
`))

// nginxVersion is what nginx says of itself, such as "nginx/1.22.1".
func nginxVersion(path string) string {
	out, err := exec.Command(path, "-v").CombinedOutput()
	if err != nil {
		return path
	}
	_, version, _ := strings.Cut(strings.TrimSpace(string(out)), ": ")
	return version
}

// nginxCommand is the nginx of a front, with its configuration in dir.
func nginxCommand(path string, f family, front, dir string) (*exec.Cmd, error) {
	type application struct{ Name, Backend string }
	var apps []application
	for _, name := range applications {
		apps = append(apps, application{name, backend(f, name)})
	}
	var text strings.Builder
	err := nginxConfig.Execute(&text, map[string]any{
		"Applications": apps, "Listen": f.listen(), "Host": host, "ServedBy": servedBy, "Front": front, "HealthPath": healthPath,
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(text.String()), 0o644); err != nil {
		return nil, err
	}
	return exec.Command(path, "-p", dir, "-c", "nginx.conf", "-e", "error.log"), nil
}
