package storetest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

// Slot returns the slot of a key in a Cluster: the CRC16 (XMODEM) of its hash tag, modulo 16384.
func Slot(key string) int {
	if _, rest, found := strings.Cut(key, "{"); found {
		if tag, _, closed := strings.Cut(rest, "}"); closed && tag != "" {
			key = tag
		}
	}
	crc := uint16(0)
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % 16384
}

// OwnerOf returns the function that finds the primary of a key, as an index of nodes. It knows the
// slots that the nodes have now.
func OwnerOf(nodes []*Server) func(key string) int {
	nodes[0].t.Helper()
	var owners [16384]int
	for line := range strings.Lines(nodes[0].CLI("cluster", "nodes")) {
		fields := strings.Fields(line)
		if len(fields) < 9 {
			continue // a node without slots
		}
		address, _, _ := strings.Cut(fields[1], "@")
		for _, ranged := range fields[8:] {
			first, last := 0, 0
			if n, _ := fmt.Sscanf(ranged, "%d-%d", &first, &last); n == 1 {
				last = first
			}
			for i, n := range nodes {
				for slot := first; n.addr == address && slot <= last; slot++ {
					owners[slot] = i
				}
			}
		}
	}
	return func(key string) int { return owners[Slot(key)] }
}

// Send sends one inline command over a connection of its own, and returns the first line of the
// reply. It takes less time than CLI, so what follows it happens at once.
func (s *Server) Send(command string) string {
	s.t.Helper()
	c, err := net.DialTimeout("tcp", s.addr, 5*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		s.t.Fatalf("no reply to %s: %v", command, err)
	}
	return strings.TrimSpace(line)
}
