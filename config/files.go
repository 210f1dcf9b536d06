package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// NamedFile is a file that a configuration names.
type NamedFile struct {
	Key  string // the key that names it
	Path string
}

// AccountsFileKey is the key of the file whose content is part of the configuration.
const AccountsFileKey = "accounts_file"

// readFile is a file that the gateway reads, by the key that names it.
type readFile struct {
	key  string
	path *string // in a Config, "" if the key is not given
}

// readFiles returns the files that the gateway reads, without those of secrets.
func (c *Config) readFiles() []readFile {
	return []readFile{
		{AccountsFileKey, &c.AccountsFile},
		{"listen.tls.cert_file", &c.Listen.TLS.CertFile},
		{"listen.tls.key_file", &c.Listen.TLS.KeyFile},
		{"upstream.ca_file", &c.Upstream.CAFile},
		{"redis.ca_file", &c.Redis.CAFile},
		{"traces.ca_file", &c.Traces.CAFile},
	}
}

// Files returns the files that the configuration names: accounts_file, certificates, and those of
// secrets.
func (c *Config) Files() (all []NamedFile) {
	for _, f := range c.readFiles() {
		all = append(all, NamedFile{f.key, *f.path})
	}
	all = append(all, c.files...)
	return slices.DeleteFunc(all, func(f NamedFile) bool { return f.Path == "" })
}

// FilesIn returns the files that a configuration in data, and its accounts_file, name, as far as
// their mistakes let them be found.
func FilesIn(file string, data []byte) []NamedFile {
	d, c := newDecoder(file), Default()
	if root, ok := d.document(data); ok {
		d.walk(root, reflect.ValueOf(&c).Elem(), "")
		d.fillScalars(&c)
		d.resolveFiles(&c)
		d.readAccountsFile(&c) // a YAML file has secrets of accounts
	}
	c.files = d.files
	return c.Files()
}

// Files that the gateway reads are relative to the folder of the configuration, which names them.
// Files that it writes are relative to its working directory, where its state is.

// beside returns the path of a file that the configuration names to be read.
func (d *decoder) beside(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.file), path)
}

// resolveFiles makes the files that the gateway reads relative to the working directory.
func (d *decoder) resolveFiles(c *Config) {
	for _, f := range c.readFiles() {
		*f.path = d.beside(*f.path)
	}
}

// sameFiles reports a file that the gateway writes and that a second key names too. Such a file
// would be overwritten.
func (v validator) sameFiles(c *Config) {
	written := []NamedFile{{"journal.path", c.Journal.Path}}
	if c.Redis.Mode == RedisEmbedded {
		written = append(written, NamedFile{"redis.snapshot", c.Redis.Snapshot})
	}
	if c.Log.Decisions != "stdout" {
		written = append(written, NamedFile{"log.decisions", c.Log.Decisions})
	}
	read := append(c.Files(), NamedFile{"the configuration", v.d.file})
	for i, w := range written {
		for _, other := range append(written[:i:i], read...) {
			if w.Path != "" && other.Path != "" && isSameFile(w.Path, other.Path) {
				v.report(w.Key, fmt.Sprintf("%s is the same file as %s", w.Key, other.Key), "give it a file of its own: the gateway writes it")
				break
			}
		}
	}
}

// isSameFile reports whether two paths lead to one file, through links too. The files need not
// exist.
func isSameFile(a, b string) bool {
	if x, err := os.Stat(a); err == nil {
		if y, err := os.Stat(b); err == nil {
			return os.SameFile(x, y)
		}
	}
	return realPath(a) == realPath(b)
}

// realPath returns an absolute path without links. What does not exist of it stays as it is.
func realPath(path string) string {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(absolute); err == nil {
		return real
	}
	if target, err := os.Readlink(absolute); err == nil { // a link to a file that does not exist
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(absolute), target)
		}
		absolute = target
	}
	parent := filepath.Dir(absolute)
	if parent == absolute {
		return absolute
	}
	return filepath.Join(realPath(parent), filepath.Base(absolute))
}
