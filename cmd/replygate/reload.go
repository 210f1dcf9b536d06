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
	"replygate/config"
	"replygate/proxy"
)

// reloader is what a gateway remembers of its configuration's file.
type reloader struct {
	mu     sync.Mutex // one reload at a time
	inUse  settings
	failed string // the hash of a file that could not be used, "" while the one in force is the newest
}

func hashOf(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:8])
}

// use puts settings in force. On an error those before stay.
func (g *gateway) use(s settings) error {
	receivers, err := proxy.NewReceivers(s.config.Callbacks)
	if err != nil {
		return err
	}
	g.logs.redactor.Know(s.config.Secrets()...)
	g.handler.Use(&proxy.Settings{
		Config: s.config, Accounts: s.book, Engine: s.engine, Receivers: receivers, Clients: proxy.NewClients(s.config.Clients),
	})
	g.inUse, g.failed = s, ""
	return nil
}

// accounts returns the accounts in force.
func (g *gateway) accounts() *account.Book { return g.handler.Current().Accounts }

// version returns the hash of the configuration in force, and whether a newer one could not be used.
func (g *gateway) version() (hash string, failed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inUse.hash, g.failed != ""
}

// reload reads the configuration's file anew, builds everything beside what runs, and swaps it in. On any
// error the old one stays. It returns the keys that changed.
func (g *gateway) reload() ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	next, err := load(g.path)
	if err == nil {
		err = g.fitting(next)
	}
	if err != nil {
		g.failed = "unreadable"
		if data, readErr := config.Read(g.path); readErr == nil {
			g.failed = hashOf(data)
		}
		g.log.Error("the configuration could not be reloaded: the one before it stays in force", zap.Error(err))
		return nil, err
	}
	changed := g.inUse.config.Changes(next.config)
	if err := g.use(next); err != nil {
		return nil, err
	}
	g.log.Info("the configuration is reloaded", zap.Strings("changed", changed), zap.String("hash", next.hash))
	return changed, nil
}

// fitting tells whether a running gateway can take a configuration over.
func (g *gateway) fitting(next settings) error {
	changed := g.inUse.config.Changes(next.config)
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

// watchFile reloads the configuration when its file has another content: edited in place, replaced, deleted
// and made again, or swapped behind a link, as a ConfigMap is. A file that is still being written is given
// a second to be whole.
func (g *gateway) watchFile(ctx context.Context) {
	if g.hash == "" { // it was not read from a file
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last, pending := g.hash, false
	var seen os.FileInfo
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		info, err := os.Stat(g.path)
		if err != nil || unchanged(info, seen) && !pending && n%lookInto != 0 {
			continue
		}
		data, err := config.Read(g.path)
		if err != nil {
			continue
		}
		hash := hashOf(data)
		pending = hash != last
		if !pending && g.isNew(hash) {
			_, _ = g.reload() // it says by itself what is wrong
		}
		seen, last = info, hash
	}
}

// lookInto is after how many looks a file is read although it looks unchanged.
const lookInto = 30

func unchanged(now, before os.FileInfo) bool {
	return before != nil && os.SameFile(now, before) && now.ModTime().Equal(before.ModTime()) && now.Size() == before.Size()
}

// isNew tells whether a file's content is neither in force nor known to be of no use. A file that is again
// as what is in force mends a broken one.
func (g *gateway) isNew(hash string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if hash == g.inUse.hash {
		g.failed = ""
	}
	return hash != g.inUse.hash && hash != g.failed
}
