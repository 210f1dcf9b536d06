package storetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/config"
	"replygate/store"
)

// Arguments reach the server: passwords, ACL users and TLS are set by them.
func TestCredentials(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	tlsPort := freePort(t)
	tls := []string{"--tls-port", tlsPort, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"}
	user := []string{"--user", "gw", "on", ">right", "~rg:*", "+@all"}
	for name, test := range map[string]struct {
		args []string
		set  func(*config.Redis)
		want string // in the error; "": usable
	}{
		"a password":       {[]string{"--requirepass", "right"}, func(c *config.Redis) { c.Password = "right" }, ""},
		"no password":      {[]string{"--requirepass", "right"}, func(*config.Redis) {}, "NOAUTH"},
		"an ACL user":      {user, func(c *config.Redis) { c.Username, c.Password = "gw", "right" }, ""},
		"a wrong password": {user, func(c *config.Redis) { c.Username, c.Password = "gw", "wrong" }, "WRONGPASS"},
		"TLS":              {tls, func(c *config.Redis) { c.TLS, c.CAFile, c.Addrs = true, cert, []string{"127.0.0.1:" + tlsPort} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := Start(t, test.args...).Config()
			test.set(&c)
			s, err := store.Open(t.Context(), c, Journal(t, c), time.Now, zap.NewNop())
			if err == nil {
				defer s.Close()
			}
			if test.want == "" && (err != nil || !s.Up()) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Open = %v, want %q", err, test.want)
			}
		})
	}
}

// certificate writes a certificate of 127.0.0.1, signed by itself, and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", private)
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}
