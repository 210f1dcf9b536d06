package config

import "reflect"

// NamedFile is a file that a configuration names.
type NamedFile struct {
	Key  string // the key that names it
	Path string
}

// Files returns the files that the configuration names: accounts_file, certificates, and those of
// secrets.
func (c *Config) Files() (all []NamedFile) {
	for _, f := range append([]NamedFile{
		{"accounts_file", c.AccountsFile},
		{"listen.tls.cert_file", c.Listen.TLS.CertFile},
		{"listen.tls.key_file", c.Listen.TLS.KeyFile},
		{"upstream.ca_file", c.Upstream.CAFile},
		{"redis.ca_file", c.Redis.CAFile},
	}, c.files...) {
		if f.Path != "" {
			all = append(all, f)
		}
	}
	return all
}

// FilesIn returns the files that a configuration in data names, as far as its mistakes let them be
// found.
func FilesIn(file string, data []byte) []NamedFile {
	d, c := newDecoder(file), Default()
	if root, ok := d.document(data); ok {
		d.walk(root, reflect.ValueOf(&c).Elem(), "")
		d.fillScalars(&c)
	}
	c.files = d.files
	return c.Files()
}
