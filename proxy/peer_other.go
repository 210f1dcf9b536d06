//go:build !linux

package proxy

// peer cannot be told here.
func (c *clientConn) peer() peerState { return peerUnknown }
