package proxy

import (
	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"replygate/config"
	"replygate/gate"
	"replygate/policy"
	"replygate/wecom"
)

// pathPreflight is where bots ask what would become of calls.
const pathPreflight = "/replygate/preflight"

// maxPreflightBody bounds the body of a preflight: a thousand questions.
const maxPreflightBody config.Size = 1 << 20

// preflight answers what would become of calls of the corp whose token the request carries, without
// sending or counting anything.
func (x *apiRequest) preflight() {
	if string(x.rc.Method()) != fasthttp.MethodPost {
		x.errorKind = methodNotAllowed
		x.fail(fasthttp.StatusMethodNotAllowed, wecom.CodeNoPath, "a preflight is a POST")
		return
	}
	refusal := x.findAsker()
	x.countCaller()
	if refusal != nil && !x.apply(*refusal) {
		return
	}
	if x.corp == "" {
		x.errorKind = string(policy.UnknownToken)
		x.fail(fasthttp.StatusOK, wecom.CodeNoPermission, "the gateway does not know whose this access_token is")
		return
	}
	body, ok := x.readBody(maxPreflightBody)
	if !ok {
		return
	}
	var in struct {
		Calls []gate.Ask `json:"calls"`
	}
	err := json.Unmarshal(body, &in, json.RejectUnknownMembers(true))
	if err == nil {
		err = gate.CheckAsks(in.Calls)
	}
	if err != nil {
		x.errorKind = malformedPreflight
		x.fail(fasthttp.StatusOK, wecom.CodeParameter, `send {"calls":[{"endpoint","channel","customer"}]}: `+err.Error())
		return
	}
	out, err := json.Marshal(struct {
		Errcode int            `json:"errcode"`
		Errmsg  string         `json:"errmsg"`
		Results []gate.Outlook `json:"results"`
	}{Errmsg: "ok", Results: x.gate.Preflight(x.ctx, x.corp, x.client(), x.at, in.Calls, x.gw.Windows)})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	resp := &x.rc.Response
	resp.Reset()
	resp.Header.SetContentType("application/json; charset=UTF-8")
	resp.SetBody(out)
}

// findAsker finds the corp that asks, by its token or by the setting unknown_token alone: what else
// finds the corp of a call is no secret, and an answer shows when customers wrote. It returns the
// refusal of anybody else.
func (x *apiRequest) findAsker() *gate.Judgement {
	if _, refusal := x.findCorp(false); refusal != nil || x.corp == "" || x.by == gate.ByToken || x.by == gate.BySetting {
		return refusal
	}
	x.corp, x.by = "", gate.ByNone
	_, owner, _ := x.gw.Tokens.Owner(x.ctx, x.tokens[0])
	return x.refuseUnknown(owner, policy.NamesIgnored)
}
