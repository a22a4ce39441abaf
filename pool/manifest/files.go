package manifest

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// extensions are those of the files of a directory that are read.
var extensions = []string{".json", ".yaml", ".yml"}

// ParseFiles reads a manifest that is in several files, as [Parse] would read them
// joined, and names the file in every position. Of a directory it reads the files that
// end in .json, .yaml or .yml, in the order of their names, and those of no directory
// below it, as kubectl apply -f does. A file that is named twice is read once.
//
// The error is everything that is wrong with all of them; a file that cannot be read,
// and a directory without any, is part of it, as an error of package os or io/fs.
func ParseFiles(names ...string) (Manifest, error) {
	p := newParser()
	read := make(map[string]bool)
	for _, name := range names {
		files := []string{filepath.Clean(name)}
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			if files, err = within(name); err != nil {
				p.unread(err)
			}
		}
		for _, file := range files {
			if !read[file] {
				read[file] = true
				p.readFile(file, func() (fs.File, error) { return os.Open(file) })
			}
		}
	}
	return p.result()
}

// within returns the files of a directory that are read.
func within(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains(extensions, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no file that ends in .json, .yaml or .yml: %w", dir, fs.ErrNotExist)
	}
	return files, nil
}

// ParseFS reads a manifest that is in several files of fsys, as [ParseFiles] does: in
// the order of the patterns, and for each of them in the order of the names that it
// matches, by [path.Match]. A pattern that matches no file is an error.
func ParseFS(fsys fs.FS, patterns ...string) (Manifest, error) {
	p := newParser()
	read := make(map[string]bool)
	for _, pattern := range patterns {
		files, err := fs.Glob(fsys, pattern)
		if err == nil && len(files) == 0 {
			err = fs.ErrNotExist
		}
		if err != nil {
			p.unread(fmt.Errorf("pattern %q: %w", pattern, err))
		}
		for _, file := range files {
			if !read[path.Clean(file)] {
				read[path.Clean(file)] = true
				p.readFile(file, func() (fs.File, error) { return fsys.Open(file) })
			}
		}
	}
	return p.result()
}

// readFile reads one file of several.
func (p *parser) readFile(name string, open func() (fs.File, error)) {
	f, err := open()
	if err != nil {
		p.unread(err)
		return
	}
	defer f.Close()
	if err := p.readAll(f, name); err != nil {
		p.unread(fmt.Errorf("reading %s: %w", name, err))
	}
}

// unread adds the error of a file that could not be read.
func (p *parser) unread(err error) {
	p.report(err)
	p.incomplete = true
}
