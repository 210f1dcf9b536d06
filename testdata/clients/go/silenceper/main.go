// Command silenceper is a bot on github.com/silenceper/wechat. Its hosts are fixed in its source,
// so the URI modifier is what brings it to the gateway.
package main

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	"github.com/silenceper/wechat/v2/util"
	"github.com/silenceper/wechat/v2/work"
	"github.com/silenceper/wechat/v2/work/config"
	"github.com/silenceper/wechat/v2/work/externalcontact"
	"github.com/silenceper/wechat/v2/work/kf"
	"github.com/silenceper/wechat/v2/work/kf/sendmsg"

	"replygate-clients/bot"
)

func main() { bot.Run(start) }

// client is what the actions share.
type client struct {
	*work.Work
	service *kf.Client
	tokens  cache.Cache
	key     string // of the access token in the cache
}

func start(c bot.Config) (map[string]bot.Action, error) {
	util.SetURIModifier(func(uri string) string {
		return strings.Replace(uri, "https://qyapi.weixin.qq.com", strings.TrimSuffix(c.BaseURL, "/"), 1)
	})
	tokens := cache.NewMemory()
	w := work.NewWork(&config.Config{
		CorpID: c.CorpID, CorpSecret: c.Secret, Cache: tokens, Token: c.CallbackToken, EncodingAESKey: c.AESKey,
	})
	service, err := w.GetKF()
	if err != nil {
		return nil, err
	}
	b := client{Work: w, service: service, tokens: tokens, key: credential.CacheKeyWorkPrefix + "_access_token_" + c.CorpID}
	return map[string]bot.Action{
		"gettoken": b.getToken, "token": b.setToken, "forget": b.forget, "sync": b.sync, "reply": b.reply, "card": b.card,
		"mass": b.mass, "details": b.details, "upload": b.upload, "verify": b.verify, "callback": b.callback,
	}, nil
}

func (b client) getToken(bot.Command) bot.Answer {
	_, err := b.GetContext().GetAccessToken()
	if err != nil {
		return bot.Hidden(err)
	}
	return bot.Seen(0, nil)
}

func (b client) setToken(c bot.Command) bot.Answer {
	return bot.Seen(0, b.tokens.Set(b.key, c.Token, time.Hour))
}

func (b client) forget(bot.Command) bot.Answer { return bot.Seen(0, b.tokens.Delete(b.key)) }

// sync shows no errcode: the client's error is WeCom's text alone.
func (b client) sync(c bot.Command) bot.Answer {
	page, err := b.service.SyncMsg(kf.SyncMsgOptions{OpenKfID: c.Channel})
	if err != nil {
		return bot.Hidden(err)
	}
	a := bot.Seen(0, nil)
	a.Messages = len(page.MsgList)
	return a
}

func (b client) reply(c bot.Command) bot.Answer {
	text := sendmsg.Text{Message: sendmsg.Message{ToUser: c.Customer, OpenKFID: c.Channel}, MsgType: "text"}
	text.Text.Content = c.Text
	return b.send(text)
}

// card is a message type that the client has no struct for.
func (b client) card(c bot.Command) bot.Answer {
	return b.send(map[string]any{
		"touser": c.Customer, "open_kfid": c.Channel, "msgtype": "business_card", "business_card": map[string]string{"userid": "zhangsan"},
	})
}

func (b client) send(message any) bot.Answer {
	info, err := b.service.SendMsg(message)
	return bot.Seen(info.ErrCode, err)
}

func (b client) mass(c bot.Command) bot.Answer {
	_, err := b.GetExternalContact().AddMsgTemplate(&externalcontact.AddMsgTemplateRequest{
		ChatType: "single", ExternalUserID: []string{c.Customer}, Sender: "zhangsan", Text: externalcontact.MsgText{Content: c.Text},
	})
	return common(err)
}

func (b client) details(c bot.Command) bot.Answer {
	details, err := b.GetExternalContact().GetExternalUserDetail(c.Customer)
	a := common(err)
	if err == nil {
		a.Name = details.ExternalContact.Name
	}
	return a
}

func (b client) upload(c bot.Command) bot.Answer {
	media, err := b.GetMaterial().UploadTempFileFromReader("media.bin", "file", bytes.NewReader(make([]byte, c.Size)))
	a := common(err)
	if err == nil {
		a.MediaID = media.MediaID
	}
	return a
}

// common shows an error of the calls that keep the errcode.
func common(err error) bot.Answer {
	var seen *util.CommonError
	switch {
	case err == nil:
		return bot.Seen(0, nil)
	case errors.As(err, &seen):
		return bot.Seen(seen.ErrCode, err)
	}
	return bot.Hidden(err)
}

func (b client) verify(c bot.Command) bot.Answer {
	q, err := url.ParseQuery(c.Query)
	if err != nil {
		return bot.Hidden(err)
	}
	text, err := b.service.VerifyURL(kf.SignatureOptions{
		Signature: q.Get("msg_signature"), TimeStamp: q.Get("timestamp"), Nonce: q.Get("nonce"), EchoStr: q.Get("echostr"),
	})
	if err != nil {
		return bot.Hidden(err)
	}
	a := bot.Seen(0, nil)
	a.Reply = text
	return a
}

func (b client) callback(c bot.Command) bot.Answer {
	message, err := b.service.GetCallbackMessage([]byte(c.Body))
	if err != nil {
		return bot.Hidden(err)
	}
	a := bot.Seen(0, nil)
	a.Event, a.Channel, a.Reply = message.Event, message.OpenKfID, "success"
	return a
}
