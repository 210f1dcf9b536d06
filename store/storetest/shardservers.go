package storetest

import (
	"net"
	"testing"

	"replygate/config"
)

// StartShardServers is StartShards for a test that needs the servers too. shardOf returns the index
// of the server that has a key. While one of the servers is down the proxy serves nobody.
func StartShardServers(t testing.TB, strict bool) (c config.Redis, servers []*Server, shardOf func(key string) int) {
	t.Helper()
	servers = []*Server{Start(t), Start(t)}
	s := &shards{servers: []string{servers[0].Addr(), servers[1].Addr()}, strict: strict}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	c = servers[0].Config()
	c.Addrs = []string{ln.Addr().String()}
	return c, servers, s.shardOf
}
