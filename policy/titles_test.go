package policy_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"replygate/account"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// The console, which reads no other package's texts, names capabilities and standings in Chinese as
// explanations and rehearsals do.
func TestTitlesOfTheConsole(t *testing.T) {
	data, err := os.ReadFile("../console/texts.zh.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var texts map[string]string
	if err := yaml.Unmarshal(data, &texts); err != nil {
		t.Fatal(err)
	}
	for _, c := range wecom.Capabilities() {
		if got, want := texts["capability."+string(c)], policy.Meaning(c, true); got != want {
			t.Errorf("%s is %q in the console, %q elsewhere", c, got, want)
		}
	}
	for _, s := range account.Standings() {
		if got, want := texts["standing."+string(s)], policy.StandingInChinese(s); got != want || want == "" {
			t.Errorf("%s is %q in the console, %q elsewhere", s, got, want)
		}
	}
}

func TestTitled(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{policy.Titled("mass_message", true), "群发给客户和客户群（mass_message）"},
		{policy.Titled("appchat", true), "应用群聊（成员；appchat）"},
		{policy.Titled("mass_message", false), "mass_message"},
		{policy.Titled("newer", true), "newer"},
		{policy.TitledStanding(account.Full, true), "联系人已满（full）"},
		{policy.TitledStanding(account.Full, false), "full"},
		{policy.TitledStanding("newer", true), "newer"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

// An engine in the other language refuses the same calls, with the texts of that language and the
// operator's own.
func TestIn(t *testing.T) {
	const own = "    - { name: r, match: { capabilities: [media] }, action: refuse, refusal: { errcode: 48006, errmsg: ask Zhang Wei } }\n"
	closed := policy.Evidence{Windows: []window.Answer{{State: window.Closed, Last: now.Add(-50 * time.Hour)}}}
	for _, test := range []struct {
		endpoint string
		en, zh   string
	}{
		{mass, "this interface (mass_message: create mass-message task (customers or customer groups)) is not open to it",
			"不能使用此接口（mass_message：群发给客户和客户群）；请续费，或在客户发来消息后的 48 小时内回复"},
		{send, "the customer last wrote at 2026-11-20T10:00:00Z and the window closed at 2026-11-22T10:00:00Z;",
			"客户最后一条消息的时间是 2026-11-20 18:00:00 北京时间，回复窗口已于 2026-11-22 18:00:00 北京时间 关闭；"},
		{"/cgi-bin/media/upload", "ask Zhang Wei", "ask Zhang Wei"},
	} {
		for _, configured := range []string{"language: en", "language: zh"} {
			e := must(t, configured, own)
			c := call(test.endpoint, wecom.Facts{Customers: []string{"wm1"}})
			for chinese, want := range map[bool]string{false: test.en, true: test.zh} {
				in := e.In(chinese)
				if d := in.Decide(c, in.Match(c), closed); d.Verdict != policy.Refuse || !strings.Contains(d.Errmsg, want) || in.Chinese() != chinese {
					t.Errorf("%s, in Chinese %v: %s %q, want %q", configured, chinese, d.Verdict, d.Errmsg, want)
				}
			}
		}
	}
}
