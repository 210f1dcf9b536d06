package store

import (
	"strconv"
	"strings"
)

// PartitionTags are hash tags, one in each of the 64 partitions (256 slots each) of a Cluster. A
// key with such a tag shares the fate of its partition, since a node can lose data alone.
var PartitionTags = func() (tags [64]string) {
	for n, found := 0, 0; found < len(tags); n++ {
		tag := strconv.Itoa(n)
		if part := &tags[slot(tag)/(slots/len(tags))]; *part == "" {
			*part = tag
			found++
		}
	}
	return tags
}()

const slots = 16384

// Partition returns the partition of a key, by its hash tag.
func Partition(key string) int { return Slot(key) / (slots / len(PartitionTags)) }

// Slot returns the slot of a key in a Cluster, of 16,384.
func Slot(key string) int {
	if _, rest, found := strings.Cut(key, "{"); found {
		if tag, _, closed := strings.Cut(rest, "}"); closed && tag != "" {
			key = tag
		}
	}
	return slot(key)
}

// slot returns the slot of a hash tag: its CRC16 (XMODEM), modulo 16384.
// Source: redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec.
func slot(tag string) int {
	crc := uint16(0)
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}
