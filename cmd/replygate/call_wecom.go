package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/upstream"
)

// ownCalls are calls to WeCom that the gateway makes by itself. They do not pass through its api
// listener, so they are neither judged nor learnt from.
type ownCalls struct {
	upstream *upstream.Upstream
	limit    int64 // of an answer, in bytes
}

// Call sends one call and returns the whole answer. Its errors never quote the query: a secret may
// be in it.
func (o ownCalls) Call(ctx context.Context, path string, query url.Values, body []byte) (status int, answer []byte, err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	var head fasthttp.RequestHeader
	head.SetMethod(http.MethodGet)
	if len(body) > 0 {
		head.SetMethod(http.MethodPost)
		head.SetContentType("application/json")
	}
	request := &upstream.Request{Head: &head, Target: []byte(path + "?" + query.Encode()), Host: o.upstream.Host(), Body: body, Identity: true}
	var resp fasthttp.Response
	got, err := o.upstream.Do(request, &resp, time.Now().Add(ownCallTime))
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", path, err)
	}
	if got == nil {
		return resp.StatusCode(), nil, nil
	}
	defer got.Close()
	answer, err = io.ReadAll(io.LimitReader(got, o.limit+1))
	if err == nil && int64(len(answer)) > o.limit {
		err = fmt.Errorf("an answer of more than %d bytes", o.limit)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", path, err)
	}
	return resp.StatusCode(), answer, nil
}

// ownCallTime bounds one of the gateway's own calls, with its answer.
const ownCallTime = 30 * time.Second
