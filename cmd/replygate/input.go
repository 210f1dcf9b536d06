package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"replygate/config"
)

// instant reads the instant of a flag; it is zero if the flag is not given.
func instant(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: --%s %q is not an instant like 2026-11-22T10:00:00+08:00", errUsage, flag, text)
	}
	return at, nil
}

// readInput reads a file, or standard input if its name is -. More than the given size is an error.
func readInput(name string, most config.Size) ([]byte, error) {
	in := os.Stdin
	if name == "-" {
		name = "standard input"
	} else {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, int64(most)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read: %w", name, err)
	case len(data) > int(most):
		return nil, fmt.Errorf("%s is larger than %s: give less of it", name, most)
	}
	return data, nil
}
