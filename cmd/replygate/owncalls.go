package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/config"
	"replygate/upstream"
)

// ownCalls calls WeCom for the gateway itself, over connections of its own: bots wait for none of
// them.
type ownCalls struct {
	upstream *upstream.Upstream
	timeout  time.Duration // for the whole answer
	limit    int64         // of an answer, in bytes
}

// newOwnCalls returns calls that end with ctx.
func newOwnCalls(ctx context.Context, c *config.Config) (*ownCalls, error) {
	u, err := upstream.New(c.Upstream)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		u.Abort()
		u.Close()
	})
	return &ownCalls{upstream: u, timeout: c.Upstream.Timeout, limit: int64(c.Limits.ReadAnswer)}, nil
}

// Call sends a POST, or a GET if there is no body. Its errors never quote the query: a secret may
// be in it.
func (o *ownCalls) Call(ctx context.Context, path string, query url.Values, body []byte) (status int, answer []byte, err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	method := http.MethodPost
	if len(body) == 0 {
		method = http.MethodGet
	}
	var head fasthttp.RequestHeader
	text := method + " / HTTP/1.1\r\nHost: " + o.upstream.Host() + "\r\nContent-Type: application/json\r\nUser-Agent: replygate\r\n\r\n"
	if err := head.Read(bufio.NewReader(bytes.NewBufferString(text))); err != nil {
		panic("BUG: a head of our own cannot be read: " + err.Error())
	}
	var resp fasthttp.Response
	a, err := o.upstream.Do(&upstream.Request{
		Head: &head, Target: []byte(path + "?" + query.Encode()), Host: o.upstream.Host(), Body: body, Identity: true,
	}, &resp, time.Now().Add(o.timeout))
	if err != nil {
		return 0, nil, fmt.Errorf("%s: no answer of WeCom: %w", path, err)
	}
	if a == nil {
		return resp.StatusCode(), nil, nil
	}
	defer a.Close()
	answer, err = io.ReadAll(io.LimitReader(a, o.limit+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("%s: the answer broke off", path)
	case int64(len(answer)) > o.limit:
		return 0, nil, fmt.Errorf("%s: an answer of more than limits.read_answer", path)
	}
	return resp.StatusCode(), answer, nil
}
