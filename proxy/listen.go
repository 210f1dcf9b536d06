package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"replygate/config"
	"replygate/record"
)

// Listen opens the listener of one face, with TLS if there is a certificate. key names it in
// errors. A certificate that is renewed in its files holds within a minute by now.
func Listen(key, address string, c config.TLS, now func() time.Time, log *zap.Logger) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	ln = patient{ln}
	if c.CertFile != "" {
		cert := &certificate{files: c, now: now, log: log}
		if err := cert.read(); err != nil {
			ln.Close()
			return nil, fmt.Errorf("listen.tls: %w", err)
		}
		ln = tls.NewListener(ln, &tls.Config{GetCertificate: cert.get, MinVersion: tls.VersionTLS12})
	}
	return &listener{Listener: ln, most: maxConns, log: record.RateLimit(log, now)}, nil
}

// certificate is that of a listener. Whoever renews it need not restart the gateway: its files are
// read anew every minute.
type certificate struct {
	files config.TLS
	now   func() time.Time
	log   *zap.Logger

	mu   sync.Mutex
	pair *tls.Certificate
	asOf time.Time
}

// readCertEvery is how old what was read of the files may be.
const readCertEvery = time.Minute

// get is for tls.Config. Files that do not match, as while they are written, leave the previous
// pair in force.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.asOf) >= readCertEvery {
		if err := c.read(); err != nil {
			c.log.Error("listen.tls could not be read anew: the certificate before stays in force", zap.Error(err))
		}
	}
	return c.pair, nil
}

func (c *certificate) read() error {
	c.asOf = c.now()
	pair, err := c.files.KeyPair()
	if err != nil {
		return err
	}
	c.pair = &pair
	return nil
}

// patient is a listener that outlives a shortage of descriptors.
type patient struct{ net.Listener }

func (l patient) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return c, err
		}
		time.Sleep(50 * time.Millisecond) // it passes
	}
}

// maxConns bounds the open connections of a listener.
const maxConns = 16 << 10

// listener hands out connections as the gateway needs them. It closes those beyond its bound at
// once: an answer could wait for the client, as that of TLS does, and no other would be accepted.
type listener struct {
	net.Listener
	most int64
	open atomic.Int64
	log  *record.RateLimited
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &clientConn{Conn: c, listener: l}, nil
		}
		l.open.Add(-1)
		l.log.Warn("too many connections are open: new ones are closed", zap.Int64("open", l.most), zap.Stringer("listener", l.Addr()))
		_ = c.Close()
	}
}
