package wecom_test

import (
	"slices"
	"strings"
	"testing"

	"replygate/wecom"
)

func TestReadChannel(t *testing.T) {
	for body, want := range map[string]string{
		`{"open_kfid":"wk1"}`:                              "wk1",
		`{"cursor":"c","open_kfid":"wk1","limit":1000}`:    "wk1",
		`{"open_kfid":"wk1","Open_KfID":"wk2"}`:            "",
		`{"open_kfid":"wk1","open_kfid":"wk2"}`:            "",
		`{"open_kfid":"wk1\u0000"}`:                        "",
		`{"open_kfid":"` + strings.Repeat("w", 129) + `"}`: "",
		`{"cursor":"c"}`:                                   "",
		`{}`:                                               "",
		``:                                                 "",
	} {
		if got := wecom.ReadChannel(wecom.Sent{Body: []byte(body), HasBody: true}); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// The complete list of calls whose channel identifies the corp.
func TestTakesChannel(t *testing.T) {
	t.Parallel()
	var got []string
	for _, e := range wecom.Endpoints() {
		if e.TakesChannel() {
			got = append(got, strings.TrimPrefix(e.Path, "/cgi-bin/kf/"))
		}
	}
	want := []string{
		"account/del", "account/update", "add_contact_way", "customer/cancel_upgrade_service", "customer/upgrade_service", "get_corp_statistic",
		"get_servicer_statistic", "send_msg", "service_state/get", "service_state/trans", "servicer/add", "servicer/del", "sync_msg",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, e := range wecom.Uncatalogueds() {
		if e.TakesChannel() {
			t.Errorf("%s takes a channel", e.Path)
		}
	}
}

// An ambiguous body has no channel.
func TestReadChannelOfAmbiguousCalls(t *testing.T) {
	t.Parallel()
	body := []byte(`{"open_kfid":"wk1","x":"&open_kfid=wk2&"}`)
	for _, test := range []struct {
		call wecom.Sent
		want string
	}{
		{wecom.Sent{Body: body, HasBody: true}, "wk1"},
		{wecom.Sent{Body: body, HasBody: true, Types: "application/json"}, "wk1"},
		{wecom.Sent{Body: body, HasBody: true, Types: "application/x-www-form-urlencoded"}, ""},
		{wecom.Sent{Body: body, HasBody: true, Types: "multipart/form-data; boundary=b"}, ""},
		{wecom.Sent{Body: body, HasBody: true, Encodings: "gzip"}, ""},
		{wecom.Sent{HasBody: true}, ""},
	} {
		if got := wecom.ReadChannel(test.call); got != test.want {
			t.Errorf("%+v: %q, want %q", test.call, got, test.want)
		}
	}
}
