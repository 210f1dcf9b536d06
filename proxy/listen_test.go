package proxy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"replygate/config"
	"replygate/wecom/wecomtest"
)

// pair is a certificate for a name with its key, both as PEM.
func pair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})
}

// certFiles are the files of a certificate that a test writes.
type certFiles struct {
	*testing.T
	config.TLS
}

func newCertFiles(t *testing.T) certFiles {
	dir := t.TempDir()
	return certFiles{t, config.TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}}
}

func (f certFiles) write(cert, key []byte) {
	f.Helper()
	for name, data := range map[string][]byte{f.CertFile: cert, f.KeyFile: key} {
		if data == nil {
			continue
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			f.Fatal(err)
		}
	}
}

// accept has a listener greet everybody until the test ends.
func accept(t *testing.T, ln net.Listener) {
	t.Helper()
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
				_, _ = c.Read(make([]byte, 1))
				_, _ = c.Write([]byte("hello"))
			}()
		}
	}()
}

// nameAt is the name in the certificate that a listener shows.
func nameAt(t *testing.T, ln net.Listener) string {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// A certificate that is renewed in its files is shown within a minute; files that do not fit
// together leave the one before.
func TestCertificateIsReadAnew(t *testing.T) {
	t.Parallel()
	clock := wecomtest.NewClock()
	clock.Set(time.Unix(1_700_000_000, 0))
	core, logged := observer.New(zapcore.InfoLevel)
	files := newCertFiles(t)
	files.write(pair(t, "first.example"))
	ln, err := Listen("listen.api", "127.0.0.1:0", files.TLS, clock.Now, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	accept(t, ln)
	cert, key := pair(t, "second.example")
	for _, step := range []struct {
		name      string
		cert, key []byte        // written, unless nil
		later     time.Duration // before the next client
		want      string
		errors    int // logged so far
	}{
		{"at first", nil, nil, 0, "first.example", 0},
		{"half written", cert, nil, time.Minute - 1, "first.example", 0},
		{"after a minute, half written", nil, nil, 1, "first.example", 1},
		{"whole, and read just now", nil, key, time.Minute - 1, "first.example", 1},
		{"a minute later", nil, nil, 1, "second.example", 1},
		{"broken", []byte("x"), nil, time.Minute, "second.example", 2},
		{"asked again at once", nil, nil, 0, "second.example", 2},
		{"a minute later, still broken", nil, nil, time.Minute, "second.example", 3},
		{"mended", cert, nil, time.Minute, "second.example", 3},
	} {
		files.write(step.cert, step.key)
		clock.Advance(step.later)
		if got := nameAt(t, ln); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
		if n := logged.FilterMessage("listen.tls could not be read anew: the certificate before stays in force").Len(); n != step.errors {
			t.Errorf("%s: %d errors are logged, want %d", step.name, n, step.errors)
		}
	}
}

// TLS older than 1.2 is refused.
func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	files := newCertFiles(t)
	files.write(pair(t, "g"))
	ln, err := Listen("listen.api", "127.0.0.1:0", files.TLS, time.Now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	accept(t, ln)
	for version, good := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		if (err == nil) != good {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			c.Close()
		}
	}
}

// An error names the key of the configuration, and leaves no listener open.
func TestListenErrors(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cert, key := pair(t, "a")
	_, otherKey := pair(t, "b")
	for _, test := range []struct {
		name, address string
		cert, key     []byte
		want          string // in the error
	}{
		{"a port that is taken", taken.Addr().String(), nil, nil, "listen.api: listen tcp " + taken.Addr().String() + ": bind: address already in use"},
		{"no port", "127.0.0.1", nil, nil, "listen.api: listen tcp: address 127.0.0.1: missing port in address"},
		{"no files", "127.0.0.1:0", nil, []byte{}, "listen.tls: open "},
		{"another key", "127.0.0.1:0", cert, otherKey, "listen.tls: tls: private key does not match public key"},
		{"no certificate", "127.0.0.1:0", []byte("x"), key, "listen.tls: tls: failed to find any PEM data in certificate input"},
	} {
		var files certFiles
		if test.key != nil {
			files = newCertFiles(t)
			files.write(test.cert, test.key)
		}
		ln, err := Listen("listen.api", test.address, files.TLS, time.Now, zap.NewNop())
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || ln != nil {
			t.Errorf("%s: %v, %v", test.name, ln, err)
		}
		if bytes.Contains([]byte(textOf(err)), otherKey) {
			t.Errorf("%s: the key is in the error", test.name)
		}
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// short fails to accept a few times, as without a file descriptor, and then closes.
type short struct {
	net.Listener
	mu     sync.Mutex
	errors []error
}

func (s *short) Accept() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errors) == 0 {
		client, server := net.Pipe()
		client.Close()
		return server, nil
	}
	err := s.errors[0]
	s.errors = s.errors[1:]
	return nil, err
}

// Accept outlives a shortage, and ends when its listener is closed.
func TestAcceptIsPatient(t *testing.T) {
	t.Parallel()
	full := errors.New("accept: too many open files")
	c, err := patient{&short{errors: []error{full, full}}}.Accept()
	if err != nil {
		t.Fatalf("a shortage ends the listener: %v", err)
	}
	c.Close()
	closed := &net.OpError{Op: "accept", Err: net.ErrClosed}
	if c, err := (patient{&short{errors: []error{full, closed}}}).Accept(); c != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener: %v, %v", c, err)
	}
	if c, err := (&listener{Listener: &short{errors: []error{closed}}}).Accept(); c != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener: %v, %v", c, err)
	}
}

// Connections are the gateway's own, with TLS or without, so that their ends are seen.
func TestListenerWrapsConnections(t *testing.T) {
	t.Parallel()
	files := newCertFiles(t)
	files.write(pair(t, "g"))
	for name, c := range map[string]config.TLS{"plain": {}, "TLS": files.TLS} {
		ln, err := Listen("listen.api", "127.0.0.1:0", c, time.Now, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		far, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		got, err := ln.Accept() // does not wait for a handshake
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		conn, ok := got.(*clientConn)
		if !ok {
			t.Fatalf("%s: a %T", name, got)
		}
		if _, secure := conn.Conn.(*tls.Conn); secure != (name == "TLS") {
			t.Errorf("%s: over a %T", name, conn.Conn)
		}
	}
}
