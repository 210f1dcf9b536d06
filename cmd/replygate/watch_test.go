package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"replygate/config"
	"replygate/internal/recordtest"
)

// Each way in which a file cannot be read is found, by a look that never waits.
func TestGlance(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"file", "closed"} {
		if err := os.WriteFile(in(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.Mkdir(in("folder"), 0o700), os.Symlink(in("gone"), in("dangling")), os.Symlink(in("file"), in("link")), syscall.Mkfifo(in("pipe"), 0o600), os.Chmod(in("closed"), 0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"file": "", "link": "", "pipe": "",
		"gone":     "no such file or directory",
		"dangling": "no such file or directory",
		"folder":   "is a directory",
		"file/x":   "not a directory",
		"closed":   "permission denied",
	} {
		if name == "closed" && os.Geteuid() == 0 {
			want = "" // root may read it
		}
		infos, broken := glance([]config.NamedFile{{Key: "k", Path: in(name)}})
		got := ""
		for _, u := range broken {
			got += u.why
		}
		if got != want || (infos[0] == nil) != (want != "") || want != "" && broken[0].String() != "k cannot be read: "+want {
			t.Errorf("%s: %v %q, want %q", name, infos, got, want)
		}
	}
}

// A file that is in a folder's place, cut short or empty keeps the configuration in force, and so
// does a secret's file that is gone. All of it is told, and its end.
func TestFilesThatAreNotReadable(t *testing.T) {
	t.Parallel()
	var secret string
	f := newFileRigWith(t, func(f *fileRig) {
		secret = f.file + ".key"
		if err := os.WriteFile(secret, []byte("0123456789abcdef"), 0o600); err != nil {
			f.Fatal(err)
		}
		f.base += "log: { ids_key_file: " + secret + " }\n"
	})
	text, err := os.ReadFile(f.file)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		begin   func() error
		end     func() error
		problem string
	}{
		{"a folder in its place", func() error { must(os.Remove(f.file)); return os.Mkdir(f.file, 0o700) },
			func() error { must(os.Remove(f.file)); return os.WriteFile(f.file, text, 0o600) }, "the configuration's file cannot be read: is a directory"},
		{"a pipe in its place", func() error { must(os.Remove(f.file)); return syscall.Mkfifo(f.file, 0o600) },
			func() error { must(os.Remove(f.file)); return os.WriteFile(f.file, text, 0o600) }, "the configuration's file cannot be read: it is no regular file"},
		{"cut short", func() error { return os.WriteFile(f.file, text[:len(text)/2], 0o600) },
			func() error { return os.WriteFile(f.file, text, 0o600) }, "the configuration could not be reloaded"},
		{"empty", func() error { return os.Truncate(f.file, 0) },
			func() error { return os.WriteFile(f.file, text, 0o600) }, "the configuration could not be reloaded"},
		{"a secret's file", func() error { return os.Rename(secret, secret+".away") },
			func() error { return os.Rename(secret+".away", secret) }, "log.ids_key_file cannot be read: no such file or directory"},
		{"its link points nowhere", func() error { must(os.Remove(f.file)); return os.Symlink(f.file+".gone", f.file) },
			func() error { must(os.Remove(f.file)); return os.WriteFile(f.file, text, 0o600) }, "the configuration's file cannot be read: no such file or directory"},
	} {
		hash, _ := f.gateway.version()
		must(c.begin())
		f.await(c.name+" to be told", func() bool { return strings.Contains(f.ready(), c.problem) })
		must(c.end())
		f.await(c.name+" to end", func() bool { return !strings.Contains(f.ready(), "config_problems") })
		if now, stale := f.gateway.version(); now != hash || stale {
			t.Errorf("%s: hash %s, stale %v", c.name, now, stale)
		}
	}
	if f.details() {
		t.Error("the rules are others")
	}
}

// A gateway that reads its configuration from a pipe serves and stops. It is not reloaded, since
// the pipe has no second content, and nothing calls it stale.
func TestConfigurationOfAPipe(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("listen: { api: 127.0.0.1:0, admin: 127.0.0.1:0 }\nredis: { snapshot: %q }\njournal: { path: %q }\nshutdown: { lame_duck: 0s, grace: 1s }\naccounts: [{ corp_id: ww1 }]\n",
		filepath.Join(dir, "s"), filepath.Join(dir, "j"))
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(pipe, []byte(text), 0o600) }()
	set, err := load(pipe)
	if err := errors.Join(err, <-written); err != nil {
		t.Fatal(err)
	}
	out := &output{check: recordtest.New(t)}
	g, err := build(t.Context(), set, time.Now, streams{out: out, err: out})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.serve(ctx) }()
	if _, err := g.reload(""); err == nil || !strings.HasSuffix(err.Error(), pipe+": it is no regular file") {
		t.Errorf("a reload: %v", err)
	}
	const told = "the configuration's file is not watched"
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(out.String(), told) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if _, stale := g.version(); stale || g.countUnreadable() > 0 || len(g.problems()) > 0 {
		t.Errorf("%v", g.problems())
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := strings.Count(out.String(), told); n != 1 {
		t.Errorf("%d lines: %s", n, out.String())
	}
}

// The files that are watched follow the content of accounts_file.
func TestFilesOfAccountsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, list := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "a.yaml")
	s := newFileSet(file)
	for _, step := range []struct{ config, accounts, want string }{
		{"accounts_file: a.yaml\n", "- { corp_id: ww1 }\n", "[accounts_file]"},
		{"accounts_file: a.yaml\n", "- { corp_id: ww1, secrets: { contact_file: k } }\n", "[accounts_file accounts[0].secrets.contact_file]"},
		{"accounts_file: a.yaml\n", "- { corp_id: ww1 }\n- { corp_id: ww2, secrets: { contact_file: k } }\n", "[accounts_file accounts[1].secrets.contact_file]"},
		{"accounts: [{ corp_id: ww1 }]\n", "", "[]"},
	} {
		if err := errors.Join(os.WriteFile(file, []byte(step.config), 0o600), os.WriteFile(list, []byte(step.accounts), 0o600)); err != nil {
			t.Fatal(err)
		}
		hash, err := s.hash()
		if err != nil {
			t.Fatal(err)
		}
		keys := []string{}
		for _, f := range s.named {
			keys = append(keys, f.Key)
		}
		if fmt.Sprint(keys) != step.want {
			t.Errorf("%s with %s: %v, want %s", step.config, step.accounts, keys, step.want)
		}
		if _, loaded, _ := config.Load(file); loaded != hash {
			t.Errorf("%s with %s: the hash is %s, and %s when it is loaded", step.config, step.accounts, hash, loaded)
		}
	}
	if err := errors.Join(os.WriteFile(file, []byte("accounts_file: a.yaml\n"), 0o600), os.Truncate(list, 64<<20+1)); err != nil {
		t.Fatal(err)
	}
	_, err := s.hash()
	if got := unreadableBy(err, s.all()).String(); got != "accounts_file cannot be read: it is larger than 64MB" {
		t.Error(got)
	}
}

// A configuration that names another accounts_file than the one in force is reloaded when that file
// is mended, and one that no longer names a missing file is taken.
func TestAccountsFileOfAFailedReload(t *testing.T) {
	f := newFileRig(t)
	list := f.file + ".csv"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	accounts := func(want int) {
		t.Helper()
		f.await(fmt.Sprintf("%d accounts", want), func() bool { return len(f.gateway.accounts().All()) == want })
	}
	write(listHead)
	f.writes("accounts_file: " + list + "\n")
	f.await("the mistake", func() bool { return strings.Contains(f.log(), "accounts_file lists no account") })
	write(rows(1))
	accounts(2)
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	f.await("the missing list", func() bool { return f.metric("replygate_config_files_unreadable 1") })
	f.writes("")
	accounts(1)
	f.await("nobody to miss a file that nobody names", func() bool {
		return f.metric("replygate_config_files_unreadable 0") && !strings.Contains(f.ready(), "config_problems")
	})
}
