package proxy

import (
	"github.com/valyala/fasthttp"

	"replygate/wecom"
)

// pathHealthz is what a load balancer asks on the api listener.
const pathHealthz = "/replygate/healthz"

// healthz answers a probe of the api listener: 200 while calls are taken, 503 once the gateway
// stops. It asks neither Redis nor WeCom, and is neither counted nor recorded: it is no call.
func (x *apiRequest) healthz() {
	if method := string(x.rc.Method()); method != fasthttp.MethodGet && method != fasthttp.MethodHead {
		x.errorKind = methodNotAllowed
		x.fail(fasthttp.StatusMethodNotAllowed, wecom.CodeNoPath, "a probe is a GET or a HEAD")
		return
	}
	x.probe = true
	resp := &x.rc.Response
	resp.Reset()
	resp.Header.SetContentType("application/json; charset=UTF-8")
	if x.gw.Draining() {
		resp.SetStatusCode(fasthttp.StatusServiceUnavailable)
		resp.SetBodyString(`{"status":"stopping"}`)
		return
	}
	resp.SetBodyString(`{"status":"ok"}`)
}
