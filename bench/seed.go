package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// seedFrom writes into Redis what a gateway would have stored: the tokens in tokens.map ("TOKEN
// ACCOUNT" a line), and windows of the customers in windows.txt ("ACCOUNT:CUSTOMER" a line), who
// all wrote a minute ago. If windows were seeded before, it does not write them again.
func seedFrom(dir, addr, channel string) error {
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	ctx := context.Background()
	now := time.Now()
	err := eachLine(filepath.Join(dir, "tokens.map"), func(line string) error {
		token, account, _ := strings.Cut(line, " ")
		hash := sha256.Sum256([]byte(token))
		return c.Set(ctx, "rg:token:"+hex.EncodeToString(hash[:]), account, 48*time.Hour).Err()
	})
	if err != nil {
		return err
	}
	const marker = "bench:seeded"
	if done, err := c.Exists(ctx, marker).Result(); err != nil || done > 0 {
		return err
	}
	p := c.Pipeline()
	flush := func(least int) error {
		if p.Len() < least {
			return nil
		}
		_, err := p.Exec(ctx)
		return err
	}
	p.Set(ctx, "rg:since", now.Add(-96*time.Hour).UnixMilli(), 0)
	err = eachLine(filepath.Join(dir, "windows.txt"), func(line string) error {
		account, customer, _ := strings.Cut(line, ":")
		key := "rg:window:{" + account + ":" + channel + ":" + customer + "}"
		p.HSet(ctx, key, "last", now.Add(-time.Minute).UnixMilli())
		p.PExpireAt(ctx, key, now.Add(48*time.Hour-time.Minute))
		return flush(10_000)
	})
	if err != nil {
		return err
	}
	p.Set(ctx, marker, 1, 0)
	return flush(1)
}

// eachLine calls do for every line of a file. Errors carry the line's number.
func eachLine(file string, do func(string) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		if err := do(lines.Text()); err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	return lines.Err()
}
