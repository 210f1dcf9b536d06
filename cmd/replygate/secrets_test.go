package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/trace/tracetest"
)

// Secrets planted wherever one can stand: none shows in any output, whatever goes wrong.
func TestNoSecretInAnyOutput(t *testing.T) {
	const mark = "SECRETMARK"
	const aesKey = mark + "key456789012345678901234567890123"
	dir := t.TempDir()
	server := storetest.Start(t, "--requirepass", mark+"redis")
	redis := server.Config()
	redis.Password, redis.Timeout = mark+"redis", 300*time.Millisecond
	collector := tracetest.Start(t)
	r, b, app := callbackRig(t, redis, func(c *config.Config) {
		c.Admin = config.Admin{ReadKey: mark + "read", ChangeKey: mark + "change", MetricsKey: mark + "metrics"}
		c.Callbacks[0].Token, c.Callbacks[0].EncodingAESKey = mark+"callback", config.Secret(aesKey)
		c.Accounts[0].Secrets.Kf = []config.Secret{mark + "kf"}
		c.Traces = config.Traces{Endpoint: collector.URL, Sample: 1, Headers: []config.Secret{"Authorization: Bearer " + mark + "collector"}}
		c.Events.Webhooks = []config.Webhook{{Name: "crm", URL: "http://127.0.0.1:9/send?access_token=" + mark + "webhook&key=" + mark, Secrets: []config.Secret{testSigning}}}
		c.Upstream.Timeout = 500 * time.Millisecond
		c.Log.Level, c.Log.Decisions = "debug", filepath.Join(dir, "decisions.log")
	})
	app.Token, app.Key = mark+"callback", aesKey
	r.platform.AddCorp("wwMarked", mark+"corpsecret", channel)
	r.platform.AddCorp(corpID, mark+"corpsecret", channel)
	api := r.gateway.api.Addr().String()
	send := func(method, target, body string, headers ...string) {
		conn, err := net.Dial("tcp", api)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, request(method, target, body, headers...))
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
		}
	}
	traffic := func() {
		for _, corp := range []string{corpID, "wwMarked", "wwStranger"} {
			send("GET", "/cgi-bin/gettoken?corpid="+corp+"&corpsecret="+mark+"corpsecret", "")
		}
		for _, q := range []string{
			"?access_token=" + mark, "?access_token=" + mark + "&access_token=" + mark, "?Access_Token=" + mark, "?key=" + mark,
			"?suite_access_token=" + mark, "?provider_access_token=" + mark, "?response_code=" + mark, "?x=%00" + mark, "#" + mark,
		} {
			for _, path := range []string{"/cgi-bin/kf/send_msg", "/cgi-bin/externalcontact/list", "/cgi-bin/message/send", "/cgi-bin/kf/sync_msg", "/cgi-bin/webhook/send", "/" + mark, "/cgi-bin/../" + mark} {
				send("POST", path+q, `{"touser":"wm1","open_kfid":"wk","msgtype":"text","text":{"content":"`+mark+`"},"code":"`+mark+`","welcome_code":"`+mark+`"}`,
					"Authorization: Bearer "+mark, "Cookie: a="+mark, "X-"+mark+": 1", "Tracestate: a="+mark, "Baggage: a="+mark)
				send("POST", path+q, `{"half":"`+mark)
			}
		}
		send("POST", "/cgi-bin/service/get_corp_token?suite_access_token="+mark, `{"auth_corpid":"wwMarked","permanent_code":"`+mark+`corpsecret"}`)
		send("GET", "/"+strings.Repeat(mark, 4000), "")
		send("GET", "/cgi-bin/user/get", "", "X-Long: "+strings.Repeat(mark, 5000))
		send(mark, "/cgi-bin/user/get", "")
		_, _ = app.Deliver(r.clock.Now(), event("customer_acquisition.customer_start_chat", corpID, "wm1", r.clock.Now(), false))
		_, _ = app.Send("POST", "msg_signature="+mark+"&timestamp=1&nonce="+mark, []byte("<xml><Encrypt>"+mark+"</Encrypt></xml>"))
		for _, key := range []string{mark + "read", mark + "wrong", ""} {
			r.adminCall("GET", "/v1/windows", "", "Authorization: Bearer "+key)
			r.adminCall("POST", "/v1/windows/open", `{"corp_id":"`+corpID+`","customer":"wm1","reason":"a call"}`, "Authorization: Bearer "+key)
		}
	}
	traffic()
	shown := map[string]answer{}
	cookie, decision := r.signIn(mark+"read"), r.newestDecision(mark+"read")
	look := func(when string, statuses ...int) {
		for path, a := range r.see(mark+"read", cookie, decision, "en", "zh") {
			if !slices.Contains(statuses, a.StatusCode) {
				t.Errorf("%s%s: HTTP %d %.300s", path, when, a.StatusCode, a.body)
			}
			shown[path+when] = a
		}
	}
	look("", http.StatusOK, http.StatusNotFound)
	job := r.adminCall("POST", "/v1/replays", "policy: { mode: shadow }\n", "Authorization: Bearer "+mark+"read", "Content-Type: application/yaml").Header.Get("Location")
	r.await("the replay", func() bool {
		a := r.adminCall("GET", job, "", "Authorization: Bearer "+mark+"read")
		shown[job] = a
		return a.StatusCode == http.StatusOK && strings.Contains(string(a.body), `"state":"done"`)
	})
	shown["the page of the replay"] = r.adminCall("GET", strings.Replace(job, "/v1/", "/console/", 1), "", "Cookie: "+cookie)
	r.platform.Answer("/cgi-bin/message/send", func(w http.ResponseWriter, _ *http.Request) { // an answer that breaks off
		conn, _, _ := w.(http.Hijacker).Hijack()
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 20\r\nX-Token: %s\r\n\r\n", mark)
		conn.Close()
	})
	traffic()
	server.Down()
	b.Close()
	traffic()
	look(" without Redis", http.StatusOK, http.StatusNotFound, http.StatusServiceUnavailable)
	r.upstream.Close()
	traffic()
	r.gateway.log.Error("a library says dial " + api + "/?access_token=" + mark + " with password " + mark + "redis")
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte(mark+"corpsecret"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, errs := cli(t, "windows", "backfill", corpID, "--secret-file", file, "--state", filepath.Join(dir, "state"),
		"--admin", "http://"+r.gateway.control.Addr().String(), "--api", "http://"+api)
	flush, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r.gateway.traces.Close(flush)
	spans, _ := collector.Raw()
	decisions, err := os.ReadFile(filepath.Join(dir, "decisions.log"))
	if err != nil || len(decisions) == 0 {
		t.Fatalf("no decisions: %v", err)
	}
	texts := map[string]string{
		"the log": r.log(), "the spans": spans, "the decisions": string(decisions), "the command line": out + errs,
		"replays":   string(r.adminCall("GET", "/v1/backfills?corp_id="+corpID, "", "Authorization: Bearer "+mark+"read").body),
		"readiness": string(r.adminCall("GET", "/readyz", "").body),
		"metrics":   string(r.adminCall("GET", "/metrics", "", "Authorization: Bearer "+mark+"metrics").body),
	}
	for path, a := range shown {
		texts[path] = fmt.Sprint(a.Header) + string(a.body)
	}
	for name, text := range texts {
		if len(text) == 0 {
			t.Errorf("%s is empty: that shows nothing", name)
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, mark) {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}
