package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"replygate/account"
	"replygate/admin"
	"replygate/config"
	"replygate/gate"
	"replygate/proxy"
)

// reloader is what a gateway remembers of its configuration's file.
type reloader struct {
	mu     sync.Mutex // one reload at a time
	inUse  settings
	failed string // the hash of a file that could not be used, "" while the one in force is the newest
	told   toldWarnings
}

func hashOf(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:8])
}

// hashOfFiles is the hash of a configuration's file, and of that of its accounts if it has one.
func hashOfFiles(path, accounts string) (string, error) {
	all, err := config.Read(path)
	if err == nil && accounts != "" {
		var more []byte
		more, err = config.Read(accounts)
		all = append(append(all, 0), more...)
	}
	return hashOf(all), err
}

// use puts settings in force. On an error those before stay.
func (g *gateway) use(s settings) error {
	receivers, err := proxy.NewReceivers(s.Config.Callbacks)
	if err != nil {
		return err
	}
	if err := g.logs.setLevel(s.Config.Log.Level); err != nil {
		return err
	}
	g.logs.redactor.AddSecrets(s.Config.Secrets()...)
	var before []string // nil at the start
	if g.handler.Current() != nil {
		before = g.accounts().CorpIDs()
	}
	if err := g.windows.ListAccounts(context.Background(), s.Accounts.CorpIDs(), before); err != nil {
		g.limited.Warn("the list of accounts waits for redis: until it is written, no reply is refused because a record is missing", zap.Error(err))
	}
	inForce := before != nil && s.hash == g.inUse.hash
	g.handler.Use(&proxy.Settings{Gate: s.Gate, Receivers: receivers})
	g.inUse, g.failed = s, ""
	g.tellPolicy(s, inForce)
	return nil
}

// inForce returns what calls are judged by.
func (g *gateway) inForce() *gate.Gate { return &g.handler.Current().Gate }

// accounts returns the accounts in force.
func (g *gateway) accounts() *account.Book { return g.handler.Current().Gate.Accounts }

// version returns the hash of the configuration in force, and whether a newer one could not be
// used.
func (g *gateway) version() (hash string, failed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inUse.hash, g.failed != ""
}

// reload reads the configuration's file anew, builds everything beside what runs, and swaps it in.
// On any error the old one stays. With a hash it does so only while the one in force has it. It
// returns what is in force then, also with an error.
func (g *gateway) reload(ifHash string) (admin.Reloaded, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := admin.Reloaded{Config: g.inUse.hash}
	if ifHash != "" && ifHash != g.inUse.hash {
		return before, admin.ErrOtherVersion
	}
	next, err := load(g.path)
	if err == nil {
		err = g.fitting(next)
	}
	if err != nil {
		failed, log := "unreadable", g.log.Error
		if hash, readErr := hashOfFiles(g.path, g.inUse.Config.AccountsFile); readErr == nil {
			failed = hash
		}
		if failed == g.failed { // the same once more, as by POST /v1/reload
			log = g.limited.Error
		}
		g.failed = failed
		log("the configuration could not be reloaded: the one before it stays in force", zap.Error(err))
		return before, err
	}
	done := admin.Reloaded{Config: next.hash, Changed: g.inUse.Config.Changes(next.Config), Warnings: g.warnings(next)}
	if err := g.use(next); err != nil {
		return before, err
	}
	for _, w := range done.Warnings {
		g.log.Warn(w)
	}
	done.Warnings = append(done.Warnings, g.told.texts()...) // logged already
	log := g.log.Info
	if len(done.Changed) == 0 {
		log = g.limited.Info
	}
	log("the configuration is reloaded", zap.Strings("changed", done.Changed), zap.String("hash", done.Config))
	return done, nil
}

// warnings tell what a configuration ends without saying so: with a second account a call whose
// token is unknown belongs no longer to the only one.
func (g *gateway) warnings(next settings) []string {
	calls := g.handler.AttributedAlone()
	if calls == 0 || g.inUse.OnlyAccount() == nil || next.OnlyAccount() != nil || next.Config.UnknownToken != config.Auto {
		return nil
	}
	return []string{fmt.Sprintf("there is more than one account now: %d calls of the last day had an unknown token, and counted as the only account's for no other reason; calls like them are refused from now on where a rule applies, unless the bots fetch their tokens through the gateway or call /corp/<corp_id>/, or accounts[].hosts or accounts[].channels tell whose they are", calls)}
}

// fitting tells whether a running gateway can take a configuration over.
func (g *gateway) fitting(next settings) error {
	changed := g.inUse.Config.Changes(next.Config)
	if keys := config.NeedsRestart(changed); len(keys) > 0 {
		return fmt.Errorf("%s cannot change while the gateway runs: restart it, or put the old value back", strings.Join(keys, ", "))
	}
	if g.callback == nil && slices.Contains(changed, "callbacks") {
		return errors.New("the first of callbacks needs a listener that is not open: restart the gateway")
	}
	return nil
}

// lookEvery is how often the configuration's file is looked at.
const lookEvery = time.Second

// watchFile reloads the configuration when its file has another content: edited in place, replaced,
// deleted and made again, or replaced as the target of a link, as a ConfigMap is. A file that is
// still being written is given a second to be whole.
func (g *gateway) watchFile(ctx context.Context) {
	if g.hash == "" { // it was not read from a file
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last, pending, seen := g.hash, false, []os.FileInfo(nil)
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		accounts := g.handler.Current().Gate.Config.AccountsFile
		look := glance(g.path, accounts)
		if slices.EqualFunc(look, seen, unchanged) && !pending && n%lookInto != 0 {
			continue
		}
		hash, err := hashOfFiles(g.path, accounts)
		if err != nil {
			continue
		}
		pending = hash != last
		if !pending && g.isNew(hash) {
			_, _ = g.reload("") // it says by itself what is wrong
		}
		seen, last = look, hash
	}
}

// lookInto is after how many looks files are read although they look unchanged.
const lookInto = 30

// glance is what stat says of files; nil for one that does not exist.
func glance(paths ...string) []os.FileInfo {
	all := make([]os.FileInfo, len(paths))
	for i, p := range paths {
		all[i], _ = os.Stat(p)
	}
	return all
}

func unchanged(now, before os.FileInfo) bool {
	if now == nil || before == nil {
		return now == nil && before == nil
	}
	return os.SameFile(now, before) && now.ModTime().Equal(before.ModTime()) && now.Size() == before.Size()
}

// isNew tells whether a file's content is neither in force nor known to be of no use. A file that
// is again as what is in force mends a broken one.
func (g *gateway) isNew(hash string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if hash == g.inUse.hash {
		g.failed = ""
	}
	return hash != g.inUse.hash && hash != g.failed
}
