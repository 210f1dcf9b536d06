package record

import (
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	idDigits  = 16 // hexadecimal digits of an id, of which the first eleven are Unix milliseconds
	countBits = 20 // bits of the rest, which tells ids of the same millisecond apart
)

// ids counts the ids of this process. It starts at random, since gateways share their milliseconds.
var ids atomic.Uint64

func init() { ids.Store(rand.Uint64()) }

// NewID returns the id of a decision at a time: 16 hexadecimal digits that begin with the time, so
// that its record can be found without reading all logs.
func NewID(at time.Time) string {
	const digits = "0123456789abcdef"
	n := uint64(at.UnixMilli())<<countBits | ids.Add(1)&(1<<countBits-1)
	var id [idDigits]byte
	for i := len(id) - 1; i >= 0; i, n = i-1, n>>4 {
		id[i] = digits[n&15]
	}
	return string(id[:])
}

// IDTime returns the time with which an id begins. ok is false if the text is no id.
func IDTime(id string) (at time.Time, ok bool) {
	n, err := strconv.ParseUint(id, 16, 64)
	if err != nil || len(id) != idDigits {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(n >> countBits)), true
}
