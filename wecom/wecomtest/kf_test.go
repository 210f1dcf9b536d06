package wecomtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const send = `{"touser":"wmA","open_kfid":"wk1","msgtype":"text","text":{"content":"x"}}`

func TestReplyRule(t *testing.T) {
	p := start(t)
	p.expect(95002, "/cgi-bin/kf/send_msg", send)
	p.CustomerEnters("ww1", "wk1", "wmA") // enters, and writes nothing
	p.expect(95002, "/cgi-bin/kf/send_msg", send)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	for range 5 {
		p.expect(0, "/cgi-bin/kf/send_msg", send)
	}
	p.expect(95001, "/cgi-bin/kf/send_msg", send)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello?")
	p.SetState("ww1", "wk1", "wmA", 3)
	p.expect(95018, "/cgi-bin/kf/send_msg", send)
	p.SetState("ww1", "wk1", "wmA", 1)
	p.clock.Advance(48*time.Hour - time.Millisecond)
	p.token = p.fetch()
	p.expect(0, "/cgi-bin/kf/send_msg", send)
	p.clock.Advance(time.Millisecond)
	p.expect(95002, "/cgi-bin/kf/send_msg", send)
	p.expect(95000, "/cgi-bin/kf/send_msg", strings.Replace(send, "wk1", "wk2", 1))
	p.expect(47001, "/cgi-bin/kf/send_msg", "{")
}

func TestSyncPagesAndReplays(t *testing.T) {
	p := start(t)
	p.CustomerWroteAt("ww1", "wk1", "wmOld", "long ago", p.clock.Now().Add(-73*time.Hour))
	for i := range 5 {
		p.CustomerWrites("ww1", "wk1", fmt.Sprintf("wm%d", i), "hello")
	}
	cursor, seen := "", 0
	for {
		a := p.expect(0, "/cgi-bin/kf/sync_msg", fmt.Sprintf(`{"open_kfid":"wk1","cursor":%q,"limit":2}`, cursor))
		seen += len(a["msg_list"].([]any))
		cursor = a["next_cursor"].(string)
		if a["has_more"].(float64) == 0 {
			break
		}
	}
	if seen != 5 {
		t.Errorf("%d messages, want the 5 of the last three days", seen)
	}
	if a := p.expect(0, "/cgi-bin/kf/sync_msg", fmt.Sprintf(`{"cursor":%q}`, cursor)); len(a["msg_list"].([]any)) != 0 {
		t.Errorf("after the end: %v", a)
	}
	if a := p.expect(0, "/cgi-bin/kf/sync_msg", `{}`); len(a["msg_list"].([]any)) != 5 {
		t.Errorf("without a cursor: %v", a)
	}
}

// WeCom reads a body in order, stops at what it cannot read, and acts on what came before.
func TestSloppyBodies(t *testing.T) {
	p := start(t)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	const head = `{"touser":"wmA","open_kfid":"wk1","msgtype":"text"`
	for _, c := range []struct {
		name, body string
		errcode    int
		warned     bool
	}{
		{"a BOM", "\ufeff" + send, 0, false},
		{"a cut surrogate", head + `,"text":{"content":"\ud83d"}}`, 0, false},
		{"a cut character", head + ",\"text\":{\"content\":\"\xe4\xbd\"}}", 0, false},
		{"a raw newline after the recipient", head + ",\"text\":{\"content\":\"a\nb\"}}", 0, true},
		{"a raw newline before the recipient", `{"text":{"content":"` + "\n" + `"},"touser":"wmA","open_kfid":"wk1","msgtype":"text"}`, 47001, true},
		{"no end", head, 0, true},
		{"a wrong type at the end", head + `,"msgid":7}`, 0, true},
		{"a wrong type before the channel", `{"touser":"wmA","msgid":7,"open_kfid":"wk1","msgtype":"text"}`, 95000, true},
		{"another case", `{"toUser":"wmA","open_kfid":"wk1","msgtype":"text"}`, 40096, false},
		{"a form", "touser=wmA&open_kfid=wk1", 47001, false},
	} {
		p.CustomerWrites("ww1", "wk1", "wmA", "hello") // five replies again
		a := p.expect(c.errcode, "/cgi-bin/kf/send_msg", c.body)
		if warned := strings.HasPrefix(a["errmsg"].(string), "Warning: wrong json format. "); warned != c.warned {
			t.Errorf("%s: %v", c.name, a)
		}
	}
}

func TestCustomerDetails(t *testing.T) {
	p := start(t)
	details := func(id string) (int, any) {
		a, _ := p.get("/cgi-bin/externalcontact/get?access_token="+p.token+"&external_userid="+id, "")
		contact, _ := a["external_contact"].(map[string]any)
		return int(a["errcode"].(float64)), contact["external_userid"]
	}
	for id, want := range map[string]int{"wmA": 0, "woB": 0, "": 41035, "zhangsan": 40096} {
		if code, got := details(id); code != want || code == 0 && got != id {
			t.Errorf("%q: errcode %d, %v; want %d", id, code, got, want)
		}
	}
}
