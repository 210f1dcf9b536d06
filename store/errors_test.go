package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
)

// classNames are the names of the classes in testdata/errors.tsv.
var classNames = map[string]store.ErrorClass{
	"-": 0, "outage": store.Outage, "redirect": store.Redirect, "crossslot": store.CrossSlot, "unusable": store.Unusable,
}

// replying is a server that answers every command with one error reply.
func replying(t *testing.T, reply string) *redis.Client {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for in := bufio.NewScanner(conn); in.Scan(); {
					if strings.HasPrefix(in.Text(), "*") { // a command begins
						_, _ = io.WriteString(conn, "-"+reply+"\r\n")
					}
				}
			}()
		}
	}()
	c := redis.NewClient(&redis.Options{Addr: ln.Addr().String(), Protocol: 2, MaxRetries: -1, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	return c
}

// Every recorded reply gets its classes, alone and wrapped with other errors.
func TestClassifyReplies(t *testing.T) {
	data, err := os.ReadFile("testdata/errors.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		server, reply := row[0], row[1]
		want := store.Rejected
		for name := range strings.SplitSeq(row[2], ",") {
			class, known := classNames[name]
			if !known {
				t.Fatalf("no class %q", name)
			}
			want |= class
		}
		t.Run(server+"/"+reply, func(t *testing.T) {
			t.Parallel()
			err := replying(t, reply).Do(t.Context(), "get", "k").Err()
			if err == nil || err.Error() != reply {
				t.Fatalf("the client returns %v", err)
			}
			for _, err := range []error{err, fmt.Errorf("window: read: %w", err), errors.Join(err, context.DeadlineExceeded)} {
				if got := store.Classify(err); got != want {
					t.Errorf("Classify(%v) = %b, want %b", err, got, want)
				}
			}
		})
	}
}

func TestClassifyOtherErrors(t *testing.T) {
	t.Parallel()
	_, refused := net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	sentinels := fmt.Errorf("redis: all sentinels specified in configuration are unreachable: %w", errors.Join(refused, errors.New("WRONGPASS invalid username-password pair")))
	for _, c := range []struct {
		name string
		err  error
		want store.ErrorClass
	}{
		{"success", nil, 0},
		{"no such key", redis.Nil, 0},
		{"no such key, wrapped", fmt.Errorf("get: %w", redis.Nil), 0},
		{"the caller gave up", fmt.Errorf("get: %w", context.Canceled), 0},
		{"timeout", context.DeadlineExceeded, store.Outage},
		{"connection refused", refused, store.Outage},
		{"connection broke", io.ErrUnexpectedEOF, store.Outage},
		{"circuit open", store.ErrAway, store.Outage},
		{"pool exhausted", redis.ErrPoolTimeout, store.Outage},
		{"client closed", redis.ErrClosed, store.Outage | store.Redirect},
		{"sentinels refuse the password", sentinels, store.Outage | store.Unusable},
	} {
		if got := store.Classify(c.err); got != c.want {
			t.Errorf("%s: Classify = %b, want %b", c.name, got, c.want)
		}
	}
}

func TestErrorClassHas(t *testing.T) {
	t.Parallel()
	both := store.Outage | store.Redirect
	if !both.Has(store.Outage) || !both.Has(both) || store.Outage.Has(both) || both.Has(store.CrossSlot) {
		t.Error("Has must mean all of the given classes")
	}
}
