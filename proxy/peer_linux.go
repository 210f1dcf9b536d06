package proxy

import (
	"crypto/tls"
	"encoding/binary"
	"syscall"
)

// tcpEstablished is TCP_ESTABLISHED of <netinet/tcp.h>: neither side has closed the connection.
const tcpEstablished = 1

// peer asks the kernel for the state of the connection. Bytes that were not read yet, like a
// pipelined request or what closes TLS, would hide the end from a look at what there is to read;
// this they do not.
func (c *clientConn) peer() peerState {
	conn := c.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return peerUnknown
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return peerUnknown
	}
	state := peerGone // unless the connection is still open here, too
	_ = raw.Control(func(fd uintptr) {
		info, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		if err != nil {
			state = peerUnknown
			return
		}
		var first [4]byte // of struct tcp_info, which begins with the state as a byte
		binary.NativeEndian.PutUint32(first[:], uint32(info))
		if first[0] == tcpEstablished {
			state = peerThere
		}
	})
	return state
}
