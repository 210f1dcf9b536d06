package storetest

import (
	"net"
	"testing"

	"replygate/config"
)

// StartShardServers is StartShards for a test that needs the n servers too. They share the slots
// evenly, three of them not along partitions. shardOf returns the index of the server that has a
// key. While one of the servers is down the proxy serves nobody.
func StartShardServers(t testing.TB, strict bool, n int) (c config.Redis, servers []*Server, shardOf func(key string) int) {
	t.Helper()
	s := &shards{strict: strict}
	for range n {
		servers = append(servers, Start(t))
		s.servers = append(s.servers, servers[len(servers)-1].Addr())
	}
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
