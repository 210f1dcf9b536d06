package backfill

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"replygate/wecom"
)

// Error is an answer of WeCom, or of the gateway, with an errcode other than 0.
type Error struct {
	Path string
	Code int
	Text string // errmsg, "" if the answer has none
}

func (e *Error) Error() string { return fmt.Sprintf("%s: errcode %d: %s", e.Path, e.Code, e.Text) }

// fetchToken gets an access token by gettoken (DOC 91039).
func (p *Puller) fetchToken(ctx context.Context) error {
	var t struct {
		Token string `json:"access_token"`
	}
	query := url.Values{"corpid": {p.Corp}, "corpsecret": {p.Secret.Reveal()}}
	if err := p.callInto(ctx, wecom.PathGetToken, query, nil, &t); err != nil {
		return err
	}
	p.token = t.Token
	return nil
}

func (p *Puller) withToken() url.Values { return url.Values{"access_token": {p.token}} }

// callInto is call for an answer that is decoded into v.
func (p *Puller) callInto(ctx context.Context, path string, query url.Values, body []byte, v any) error {
	answer, err := p.call(ctx, path, query, body)
	if err != nil {
		return err
	}
	if err := wecom.ReadAnswer(answer, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// call returns the answer of a call that succeeded, and an *Error for one that was refused. A page
// of kf/sync_msg may be cut: ReadPage takes what can be read of it.
func (p *Puller) call(ctx context.Context, path string, query url.Values, body []byte) ([]byte, error) {
	status, answer, err := p.Calls.Call(ctx, path, query, body)
	if err != nil {
		return nil, err
	}
	code, err := wecom.ReadErrcode(answer)
	isPage := path == wecom.PathSyncMsg && status == http.StatusOK
	switch {
	case err != nil && !isPage:
		return nil, fmt.Errorf("%s: HTTP %d, and the answer is not JSON", path, status)
	case err == nil && code != wecom.CodeOK:
		var text struct {
			Errmsg string `json:"errmsg"`
		}
		_ = wecom.ReadAnswer(answer, &text) // without errmsg the code must do
		return nil, &Error{Path: path, Code: code, Text: text.Errmsg}
	}
	return answer, nil
}
