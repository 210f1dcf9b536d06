package main

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// monotonicMicroseconds reads CLOCK_MONOTONIC, by which systemd knows to which reload a message
// belongs. Package time does not give it out.
func monotonicMicroseconds() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // Linux always has this clock
	return strconv.FormatInt(now.Nano()/1000, 10)
}
