package wecomtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"replygate/wecom"
	"replygate/wecom/wecomtest"
)

// Every change sends its callback, in both envelopes, and the gateway reads it.
func TestContactEvents(t *testing.T) {
	t.Parallel()
	p := start(t)
	b, own := listen(t)
	third := own
	third.Suite = "ww-suite"
	p.AddContact("ww1", "clerk1", "wmA")
	p.AddHalf("ww1", "clerk1", "wmB")
	p.EditContact("ww1", "clerk1", "wmA")
	p.TransferContact("ww1", "clerk1", "clerk2", "wmA")
	p.TransferFails("ww1", "clerk3", "wmA", "customer_limit_exceed")
	p.DelFollow("ww1", "clerk2", "wmA")
	p.DelContact("ww1", "clerk2", "wmA")
	p.CreateGroup("ww1", "wrG", "clerk1")
	p.JoinGroup("ww1", "wrG", "clerk2", "wmA")
	p.LeaveGroup("ww1", "wrG", "wmA")
	p.DismissGroup("ww1", "wrG")
	p.AddOther("ww1", "clerk1", "Zhao", "") // no callback
	p.SetContacts("ww1", 5, 1)
	began := time.Unix(p.clock.Now().Unix(), 0)
	p.clock.Advance(time.Minute)
	events := p.TakeEvents("ww1")
	if again := p.TakeEvents("ww1"); len(again) != 0 {
		t.Errorf("%d events twice", len(again))
	}
	wants := []string{
		`{"Kind":"change_external_contact.add_external_contact","Corp":"ww1","Customer":"wmA","Member":"clerk1","WelcomeCode":"CODE00000001"}`,
		`{"Kind":"change_external_contact.add_half_external_contact","Corp":"ww1","Customer":"wmB","Member":"clerk1","WelcomeCode":"CODE00000002"}`,
		`{"Kind":"change_external_contact.edit_external_contact","Corp":"ww1","Customer":"wmA","Member":"clerk1"}`,
		`{"Kind":"change_external_contact.del_external_contact","Corp":"ww1","Customer":"wmA","Member":"clerk1","Source":"DELETE_BY_TRANSFER"}`,
		`{"Kind":"change_external_contact.add_external_contact","Corp":"ww1","Customer":"wmA","Member":"clerk2"}`,
		`{"Kind":"change_external_contact.transfer_fail","Corp":"ww1","Customer":"wmA","Member":"clerk3"}`,
		`{"Kind":"change_external_contact.del_follow_user","Corp":"ww1","Customer":"wmA","Member":"clerk2"}`,
		`{"Kind":"change_external_contact.del_external_contact","Corp":"ww1","Customer":"wmA","Member":"clerk2"}`,
		`{"Kind":"change_external_chat.create","Corp":"ww1","Group":{"ID":"wrG"}}`,
		`{"Kind":"change_external_chat.update","Corp":"ww1","Group":{"ID":"wrG","Detail":"add_member","Members":["clerk2","wmA"]}}`,
		`{"Kind":"change_external_chat.update","Corp":"ww1","Group":{"ID":"wrG","Detail":"del_member","Members":["wmA"]}}`,
		`{"Kind":"change_external_chat.dismiss","Corp":"ww1","Group":{"ID":"wrG"}}`,
	}
	if len(events) != len(wants) {
		t.Fatalf("%d events, want %d", len(events), len(wants))
	}
	for i, e := range events {
		for _, app := range []wecomtest.App{own, third} {
			if tries, taken := p.SendEvent(app, e); !taken || len(tries) != 1 {
				t.Errorf("%d: %+v", i, tries)
			}
			plain, _, _ := strings.Cut(b.got[len(b.got)-1], "|")
			var want wecom.Callback
			if err := json.Unmarshal([]byte(wants[i]), &want); err != nil {
				t.Fatal(err)
			}
			want.At, want.ThirdParty = began, app.Suite != ""
			if got, err := wecom.ReadCallback([]byte(plain)); err != nil || !got.Known() || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v\n got %+v\nwant %+v", plain, err, got, want)
			}
		}
	}
}

// A callback is sent until it is taken, three times at most, each time signed anew and otherwise
// the same.
func TestCallbackTries(t *testing.T) {
	t.Parallel()
	success := func(w http.ResponseWriter, _ string) { _, _ = io.WriteString(w, "success") }
	fails := func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusServiceUnavailable) }
	aborts := func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }
	empty := func(http.ResponseWriter, string) {}
	type reply = func(http.ResponseWriter, string)
	for name, test := range map[string]struct {
		suite   string
		replies []reply // the last one for all later tries
		tries   int
		taken   bool
	}{
		"taken":                       {"", []reply{success}, 1, true},
		"taken without a body":        {"", []reply{empty}, 1, true},
		"a status":                    {"", []reply{fails, success}, 2, true},
		"no answer":                   {"", []reply{aborts, success}, 2, true},
		"two failures":                {"", []reply{fails, aborts, success}, 3, true},
		"never":                       {"", []reply{fails}, 3, false},
		"a third party":               {"ww-suite", []reply{success}, 1, true},
		"one that answers other text": {"ww-suite", []reply{empty, success}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			b, app := listen(t)
			app.Suite = test.suite
			got := make(chan string, 3)
			b.reply = func(w http.ResponseWriter, plain string) {
				got <- plain
				test.replies[min(len(got), len(test.replies))-1](w, plain)
			}
			p.DelFollow("ww1", "clerk1", "wmA")
			tries, taken := p.SendEvent(app, p.TakeEvents("ww1")[0])
			if len(tries) != test.tries || taken != test.taken || len(got) != test.tries {
				t.Fatalf("%d tries, taken %v, %d arrived", len(tries), taken, len(got))
			}
			first := <-got
			for i, d := range tries[1:] {
				if next := <-got; next != first || d.Query == tries[i].Query {
					t.Errorf("%s and %s, signed by %s and %s", first, next, tries[i].Query, d.Query)
				}
			}
		})
	}
}

// An answer after five seconds is none, and the callback is sent again, though it was read.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	p := start(t)
	b, app := listen(t)
	p.SetPatience(100 * time.Millisecond)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	got := make(chan string, 3)
	b.reply = func(_ http.ResponseWriter, plain string) {
		got <- plain
		<-stop
	}
	p.DelFollow("ww1", "clerk1", "wmA")
	if tries, taken := p.SendEvent(app, p.TakeEvents("ww1")[0]); len(tries) != 3 || taken {
		t.Errorf("%d tries, taken %v", len(tries), taken)
	}
	first := <-got
	for range 2 {
		if again := <-got; again != first {
			t.Errorf("%s, then %s", first, again)
		}
	}
}

// SendEvents sends all, goes on after one that is not taken, and reports it.
func TestSendEvents(t *testing.T) {
	t.Parallel()
	p := start(t)
	b, app := listen(t)
	for _, lost := range []bool{false, true} {
		b.got = nil
		p.DelFollow("ww1", "clerk1", "wmA")
		p.DelFollow("ww1", "clerk1", "wmB")
		b.reply = func(w http.ResponseWriter, plain string) {
			if lost && strings.Contains(plain, "wmA") {
				w.WriteHeader(http.StatusBadGateway)
			}
		}
		if taken := p.SendEvents("ww1", app); taken == lost || !strings.Contains(b.got[len(b.got)-1], "wmB") || len(b.got) != map[bool]int{false: 2, true: 4}[lost] {
			t.Errorf("lost %v: taken %v, %d sent", lost, taken, len(b.got))
		}
	}
}
