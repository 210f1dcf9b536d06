package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"

	"replygate/config"
)

// fileSet is a configuration's file, with those that it names.
type fileSet struct {
	path    string
	named   []config.NamedFile // in it and in its accounts_file
	ofFile  string             // the hash of the file that has these names
	ofFiles string             // that with accounts_file
}

func newFileSet(path string) *fileSet { return &fileSet{path: path} }

// all returns the files: the configuration's, then those that it named when it was last read.
func (s *fileSet) all() []config.NamedFile {
	return append([]config.NamedFile{{Key: configKey, Path: s.path}}, s.named...)
}

// only returns those of the files that the configuration still names, each once.
func (s *fileSet) only(found []brokenFile) (still []brokenFile) {
	all := s.all()
	for _, u := range found {
		again := slices.ContainsFunc(still, func(o brokenFile) bool { return o.NamedFile == u.NamedFile })
		if slices.Contains(all, u.NamedFile) && !again {
			still = append(still, u)
		}
	}
	return still
}

// isContent reports whether the content of a file is part of the configuration.
func isContent(f config.NamedFile) bool {
	return f.Key == configKey || f.Key == config.AccountsFileKey
}

// accounts returns the accounts_file of the configuration as it was last read, "" if there is none.
func (s *fileSet) accounts() string {
	for _, f := range s.named {
		if f.Key == config.AccountsFileKey {
			return f.Path
		}
	}
	return ""
}

// configKey is listed as the key of the configuration's own file.
const configKey = "the configuration's file"

// hash reads the configuration's file and its accounts_file and returns their hash.
func (s *fileSet) hash() (string, error) {
	data, err := config.ReadAgain(s.path)
	if err != nil {
		return "", err
	}
	hash := config.Hash(data, nil)
	if hash != s.ofFile {
		s.ofFile, s.ofFiles, s.named = hash, hash, config.FilesIn(s.path, data)
	}
	if list := s.accounts(); list != "" {
		accounts, err := config.ReadAgain(list)
		if err != nil {
			return "", err
		}
		hash = config.Hash(data, accounts)
	}
	if hash != s.ofFiles {
		s.ofFiles, s.named = hash, config.FilesIn(s.path, data)
	}
	return hash, nil
}

// lookEvery is how often the configuration's files are looked at, lookInto after how many looks
// they are read although they look unchanged.
const (
	lookEvery = time.Second
	lookInto  = 30
)

// watchFiles reloads the configuration when its file or its accounts_file has another content:
// edited in place, replaced, deleted and made again, or replaced as the target of a link, as a
// ConfigMap is. SIGHUP reloads it too. It logs when one of the files that the configuration names
// cannot be read.
func (g *gateway) watchFiles(ctx context.Context) {
	if g.hash == "" { // it was not read from a file
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	w := watcher{g: g, files: newFileSet(g.path), last: g.hash}
	w.files.named = g.Config.Files()
	once := config.Rereadable(g.path)
	if once != nil {
		g.log.Warn("the configuration's file is not watched, and a reload changes nothing", zap.Error(once))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.hangups:
			_, _ = g.reload("") // it says by itself what is wrong
		case <-tick.C:
			if once != nil {
				g.saveList(false)
				continue
			}
			w.look()
		}
	}
}

// watcher is what is remembered of the files between two looks.
type watcher struct {
	g       *gateway
	files   *fileSet
	n       int           // looks
	last    string        // the hash of the last content
	pending bool          // it was new: it is given until the next look to be whole
	seen    []os.FileInfo // of the files that are reloaded; nil: they must be read again
}

// look looks at the files once.
func (w *watcher) look() {
	w.n++
	files := w.files.all()
	infos, broken := glance(files)
	var content []os.FileInfo // of the configuration's file and accounts_file
	for i, f := range files {
		if isContent(f) {
			content = append(content, infos[i])
		}
	}
	hash, err := "", error(nil)
	if w.seen == nil || w.pending || w.n%lookInto == 0 || !slices.EqualFunc(content, w.seen, unchanged) {
		hash, err = w.files.hash()
		w.seen = content
	}
	if err != nil {
		broken, w.seen = append(broken, unreadableBy(err, w.files.all())), nil
	}
	w.g.foundUnreadable(w.files.only(broken))
	w.g.saveList(false)
	if hash == "" || err != nil {
		return
	}
	w.pending = hash != w.last
	w.last = hash
	if !w.pending && w.g.isNew(hash) {
		_, _ = w.g.reload("") // it says by itself what is wrong
	}
}

// brokenFile is a file that the configuration names and that cannot be read.
type brokenFile struct {
	config.NamedFile
	why string
}

func (u brokenFile) String() string { return u.Key + " cannot be read: " + u.why }

// unreadableBy tells which of the files an error of reading them is about.
func unreadableBy(err error, files []config.NamedFile) brokenFile {
	at := files[0]
	if p := new(fs.PathError); errors.As(err, &p) {
		for _, f := range files {
			if f.Path == p.Path {
				at = f
			}
		}
		err = p.Err
	}
	return brokenFile{at, err.Error()}
}

// glance returns what stat says of files, nil where it fails, and which of them cannot be read. It
// opens regular files and folders only: a pipe would wait for its writer.
func glance(files []config.NamedFile) (infos []os.FileInfo, broken []brokenFile) {
	infos = make([]os.FileInfo, len(files))
	for i, f := range files {
		info, err := os.Stat(f.Path)
		if err == nil && info.IsDir() {
			err = syscall.EISDIR
		}
		if err == nil && info.Mode().IsRegular() {
			var file *os.File
			if file, err = os.Open(f.Path); err == nil {
				file.Close()
			}
		}
		if err != nil {
			broken = append(broken, unreadableBy(err, files[i:i+1]))
			continue
		}
		infos[i] = info
	}
	return infos, broken
}

func unchanged(now, before os.FileInfo) bool {
	if now == nil || before == nil {
		return now == nil && before == nil
	}
	return os.SameFile(now, before) && now.ModTime().Equal(before.ModTime()) && now.Size() == before.Size()
}

// foundUnreadable logs once that a file cannot be read, and once that it can be read again.
func (g *gateway) foundUnreadable(now []brokenFile) {
	g.mu.Lock()
	before := g.unreadable
	g.mu.Unlock()
	for _, u := range now {
		if !slices.Contains(before, u) {
			g.log.Error(u.Key+" cannot be read: the configuration in force stays", zap.String("file", u.Path), zap.String("error", u.why))
		}
	}
	for _, u := range before {
		if !slices.ContainsFunc(now, func(n brokenFile) bool { return n.NamedFile == u.NamedFile }) {
			g.log.Info(u.Key+" can be read again", zap.String("file", u.Path))
		}
	}
	g.mu.Lock()
	g.unreadable = now
	g.mu.Unlock()
}

// countUnreadable counts the files that cannot be read.
func (g *gateway) countUnreadable() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.unreadable)
}

// isNew tells whether a file's content is neither in force nor known to be of no use or held. Files
// that are again as what is in force end a failed or held reload.
func (g *gateway) isNew(hash string) bool {
	g.mu.Lock()
	held := g.held
	isNew := hash != g.inUse.hash && hash != g.failed && (held == nil || hash != held.hash)
	restored := hash == g.inUse.hash
	if restored {
		g.failed, g.held = "", nil
	}
	g.mu.Unlock()
	if restored && held != nil {
		g.log.Info("the reload that was held is over: the files are again as the configuration in force")
	}
	return isNew
}
