//go:build !linux

package main

// monotonicMicroseconds is only for systemd, which runs on Linux.
func monotonicMicroseconds() string { return "0" }
