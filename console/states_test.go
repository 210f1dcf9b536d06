package console_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"replygate/console"
)

// languages are those of the pages.
var languages = []string{"en", "zh"}

// page gets a page in a language.
func (t *rig) page(path, lang, cookie string) (status int, body string) {
	t.Helper()
	escaped := strings.ReplaceAll(path, "鹿鸣实业", url.PathEscape("鹿鸣实业"))
	res := t.call("GET", "/console/"+escaped, nil, "Cookie", cookie+"; replygate-lang="+lang)
	return res.StatusCode, text(res)
}

// texts are the texts of a language that have no forms for numbers.
func texts(t *testing.T, lang string) map[string]string {
	t.Helper()
	data, err := os.ReadFile("texts." + lang + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := yaml.Unmarshal(data, &raw); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for key, value := range raw {
		if s, ok := value.(string); ok {
			all[key] = s
		}
	}
	return all
}

// fail answers as the API does.
func fail(w http.ResponseWriter, status int, code string) bool {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"code":%q,"message":"the API says %s"}}`, code, code)
	return true
}

// Every page says that Redis is away, since when, and still shows what is known without it.
func TestRedisAway(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	stored := regexp.MustCompile(`^/v1/(windows|closing|entities|rehearsal)|^/v1/contacts\?.*history`)
	r.api = func(w http.ResponseWriter, req *http.Request) bool {
		switch {
		case stored.MatchString(req.URL.RequestURI()):
			return fail(w, http.StatusServiceUnavailable, "store_unavailable")
		case req.URL.Path == "/v1/overview":
			_, _ = w.Write([]byte(`{"accounts":{"total":3,"active":3},"decisions":{},"attention":[],"health":"failed","unwell":2,"redis_down":"2026-11-29T13:12:00.000Z"}`))
			return true
		case strings.HasPrefix(req.URL.Path, "/v1/accounts/"):
			_, _ = w.Write([]byte(`{"corp_id":"wwa03be7712f9c54e1","name":"鹿鸣服饰","standing":"lapsed","stops":[],"contacts_total":3010}`))
			return true
		}
		return false
	}
	want := map[string]string{
		"en": "Redis has not answered since 2026-11-29 21:12; the numbers stand still at 2026-11-29 21:12.",
		"zh": "Redis 没有应答，自 2026-11-29 21:12 起；数字停在 2026-11-29 21:12。",
	}
	needsRedis := regexp.MustCompile(`^(closing|windows|entities|rehearsal)\b`)
	for _, s := range screens {
		for _, lang := range languages {
			status, body := r.page(s.path, lang, cookie)
			wanted := http.StatusOK
			if needsRedis.MatchString(s.path) {
				wanted = http.StatusServiceUnavailable
			}
			if status != wanted || !strings.Contains(body, want[lang]) {
				t.Errorf("%s in %s: HTTP %d, want %d with %s", s.path, lang, status, wanted, want[lang])
			}
		}
	}
	if _, body := r.page("", "zh", cookie); strings.Contains(body, "the API says") || !strings.Contains(body, "Redis 没有应答，请重试。") {
		t.Error("the overview in Chinese does not tell in Chinese which parts are missing")
	}
	if _, body := r.page("accounts/wwa03be7712f9c54e1", "en", cookie); !strings.Contains(body, "Usage cannot be read just now.") || !strings.Contains(body, "Channels cannot be read just now.") {
		t.Error("the page of an account does not tell which parts are missing")
	}
}

// Pages that show what all gateways have say which one did not answer.
func TestSilentGateway(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	r.api = func(w http.ResponseWriter, req *http.Request) bool {
		if name := strings.ReplaceAll(strings.Trim(req.URL.Path, "/"), "/", "_"); req.Method == http.MethodGet {
			data, err := os.ReadFile(filepath.Join("../testdata/console/api", name+".json"))
			if err != nil || !strings.HasPrefix(string(data), "{") {
				return false
			}
			_, _ = w.Write([]byte(`{"partial":[{"gateway":"10.1.0.12:9090","error":"no answer within 500ms"}],` + string(data[1:])))
			return true
		}
		return false
	}
	want := map[string]string{"en": "1 gateway did not answer (10.1.0.12:9090): its records are missing below.", "zh": "1 台网关没有应答（10.1.0.12:9090）：以下不含它们的记录。"}
	for _, s := range screens {
		for _, lang := range languages {
			status, body := r.page(s.path, lang, cookie)
			if status != http.StatusOK {
				t.Errorf("%s in %s: HTTP %d", s.path, lang, status)
			}
			if gathers := s.path == "" || s.path == "decisions" || s.path == "rules" || s.path == "health"; gathers && !strings.Contains(body, want[lang]) {
				t.Errorf("%s in %s lacks %s", s.path, lang, want[lang])
			}
		}
	}
}

// hostile is in place of every text of the API's answers, but for times and what is a number.
const hostile = `<script>alert(1)</script>"'=1+1`

func poisoned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = poisoned(value)
		}
	case []any:
		for i, value := range v {
			v[i] = poisoned(value)
		}
	case string:
		if _, err := time.Parse(time.RFC3339, v); err != nil && v != "" {
			return hostile
		}
	}
	return v
}

// Whatever cell the markup is in, no page takes it for its own.
func TestMarkupInEveryCell(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	r.api = func(w http.ResponseWriter, req *http.Request) bool {
		data, err := os.ReadFile(filepath.Join("../testdata/console/api", strings.ReplaceAll(strings.Trim(req.URL.Path, "/"), "/", "_")+".json"))
		var answer any
		if err != nil || json.Unmarshal(data, &answer) != nil {
			return false
		}
		_ = json.NewEncoder(w).Encode(poisoned(answer))
		return true
	}
	for _, s := range screens {
		for _, lang := range languages {
			status, body := r.page(s.path, lang, cookie)
			if status != http.StatusOK {
				t.Errorf("%s in %s: HTTP %d", s.path, lang, status)
			}
			for _, bad := range []string{"<script>alert", `"'=1`, "ZgotmplZ"} {
				if i := strings.Index(body, bad); i >= 0 {
					t.Errorf("%s in %s has markup of the data: %.80s", s.path, lang, body[i:])
				}
			}
		}
	}
}

var (
	notProse   = regexp.MustCompile(`(?s)<(code|pre|script|title|textarea)[^>]*>.*?</(code|pre|script|title|textarea)>|<[^>]*>`)
	threeWords = regexp.MustCompile(`\b[a-z']{2,} [a-z']{2,} [a-z']{2,}\b`)
)

// A Chinese page has no English sentence, and no text of ours with half-width punctuation.
func TestChinesePages(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	english, chinese := texts(t, "en"), texts(t, "zh")
	for _, s := range screens {
		_, body := r.page(s.path, "zh", cookie)
		prose := html.UnescapeString(notProse.ReplaceAllString(body, "\n"))
		for key, en := range english {
			if strings.Contains(strings.TrimSpace(en), " ") && !strings.Contains(en, "{") && en != chinese[key] && strings.Contains(prose, en) {
				t.Errorf("%s has the English text of %s", s.path, key)
			}
		}
		for _, line := range strings.Split(prose, "\n") {
			if strings.Contains(line, "<script>") || strings.Contains(line, "：replygate ") { // data, and commands
				continue
			}
			if words := threeWords.FindString(line); words != "" {
				t.Errorf("%s has English: %s", s.path, strings.TrimSpace(line))
			}
		}
	}
	half := regexp.MustCompile(`\p{Han}[,;!?]|\p{Han}\.(?:$|\p{Han})|\p{Han}\(|\p{Han}:`)
	for key, zh := range chinese {
		if half.MatchString(zh) {
			t.Errorf("%s has half-width punctuation: %s", key, zh)
		}
	}
}

// The texts that people know from the manual are those, to the letter.
func TestAgreedTexts(t *testing.T) {
	for lang, want := range map[string]map[string]string{
		"en": {
			"login.help": "Enter admin.read_key of the configuration", "login.wrong": "That is not the key.", "login.many": "Too many tries; wait {s} s.",
			"attention.stops": "{name} stops in {left}, on {date}", "attention.contacts": "{name} has used {p}% of its contact tier",
			"closing.after.lapsed": "unreachable until they write", "decision.now": "Judged now: {verdict} ({reason})", "rules.never": "never hit since the reload at {t}",
			"rehearsal.none": "No traffic has come through the gateway yet: point the bots at it first.",
			"history":        "Records are complete only since {t}: in {left} it will be certain who has not written.",
			"stale":          "The connection to the gateway is lost and being tried again; the page stands at {t}.",
			"store.away":     "Redis has not answered since {t}; the numbers stand still at {t}.", "busy": "Another export is running; try again soon.", "session": "The session has ended; sign in again.",
			"window.change.help": "Open this window only if you know that the customer has just written. The reason goes into the audit record.",
		},
		"zh": {
			"login.help": "输入配置中的 admin.read_key", "login.wrong": "密钥不对。", "login.many": "尝试过多，请 {s} 秒后再试。",
			"attention.closing": "{n} 个会话将在 1 小时内关闭，还没有人回复", "attention.stops": "{name}将在 {left}后停用（{date}）", "attention.contacts": "{name}的外部联系人已用 {p}%",
			"closing.untold":       "{n} 个企业未列入：它们的消息不经过网关拉取，无法判断是否已回复。",
			"closing.after.lapsed": "联系不上，除非客户来信", "decision.now": "现在再判断一次：{verdict}（{reason}）", "rules.never": "自 {t} 重新加载以来从未命中",
			"rehearsal.none": "还没有流量经过网关，先让程序改用网关地址。", "partial": "{n} 台网关没有应答（{who}）：以下不含它们的记录。",
			"history": "消息记录自 {t} 才完整，还要 {left}才能断定谁没有来信。", "stale": "与网关的连接已断开，正在重试；页面停在 {t}。",
			"store.away": "Redis 没有应答，自 {t} 起；数字停在 {t}。", "busy": "正在导出另一份，请稍后再试。", "session": "登录已过期，请重新登录。",
			"window.change.help": "手动打开窗口：仅当确知客户刚来过消息。原因会写入审计记录。",
			"decision.missing":   "没有找到决策 {id}。找过 {n} 台网关，最早到 {t}。",
		},
	} {
		got := texts(t, lang)
		for key, text := range want {
			if got[key] != text {
				t.Errorf("%s in %s is %q, want %q", key, lang, got[key], text)
			}
		}
	}
}

// The navigation counts what needs attention.
func TestNavigationCounts(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	_, body := r.page("settings", "en", cookie)
	side := html.UnescapeString(notProse.ReplaceAllString(body[strings.Index(body, "<nav"):strings.Index(body, "</nav>")], ""))
	for _, want := range []string{"Closing soon 14 close within 1 h", "Accounts 4 in grace", "Health 3 need attention"} {
		if !strings.Contains(side, want) {
			t.Errorf("the navigation lacks %q: %s", want, side)
		}
	}
}

// states are answers of the API that pages put into words.
var states = map[string]struct {
	path   string
	answer map[string]string // by path and query, or by path
	status int
	en, zh []string
}{
	"no chat closes": {
		"closing", map[string]string{
			"/v1/closing?limit=50&within=1h": `{"waiting":[],"counts":{},"hours":[],"untold":[]}`,
			"/v1/closing?limit=1":            `{"waiting":[{"corp_id":"ww1","closes":"2026-11-29T18:14:00.000Z","reachable_after":true}]}`,
		}, 200,
		[]string{"No chat closes within the hour.", "The next one does at 2026-11-30 02:14."},
		[]string{"1 小时内没有要关闭的会话。", "下一个在 2026-11-30 02:14。"},
	},
	"nothing can be told": {
		"closing", map[string]string{
			"/v1/closing":  `{"waiting":[],"counts":{"all":0},"hours":[],"untold":[{"corp_id":"ww1","account":"甲","channels":[],"why":"not_observed"}]}`,
			"/v1/overview": `{"accounts":{"total":1},"waiting":{"all":0,"untold_accounts":1},"decisions":{},"attention":[]}`,
		}, 200,
		[]string{"No account's replies can be observed"}, []string{"没有一个企业的回复可以观察到"},
	},
	"past the gateway": {
		"closing", map[string]string{"/v1/closing": `{"waiting":[],"counts":{},"hours":[],"untold":[{"corp_id":"ww1","channels":["a"],"why":"bypassed"},{"corp_id":"ww1","channels":["b"],"why":"bypassed"}]}`}, 200,
		[]string{"1 account is not listed: its messages bypass the gateway, so nobody can tell."}, []string{"1 个企业未列入：它们的消息不经过网关拉取，无法判断是否已回复。"},
	},
	"no account fits": {
		"accounts?standing=lapsed&q=x", map[string]string{
			"/v1/accounts?limit=50&q=x&sort=stops&standing=lapsed": `{"accounts":[],"total":0}`,
			"/v1/accounts?limit=1&sort=stops&standing=lapsed":      `{"accounts":[],"total":21}`,
			"/v1/accounts?limit=1&q=x&sort=stops":                  `{"accounts":[],"total":3}`,
		}, 200,
		[]string{"No account fits.", "Drop standing “Lapsed” (3)", "Drop name or id “x” (21)"}, []string{"没有符合条件的企业。", "去掉状态“已失效”（3 个）", "去掉名称或 ID“x”（21 个）"},
	},
	"free without a subscription": {
		"accounts", map[string]string{"/v1/accounts": `{"accounts":[{"corp_id":"ww1","standing":"free","stops":[],"contacts_total":1412,"contacts_free":2000}],"total":1}`}, 200,
		[]string{"adding stops at 588 more contacts"}, []string{"再增 588 人后不能再添加"},
	},
	"a decision that nobody has": {
		"decisions/54fda24f7aa4f3c3", map[string]string{"/v1/decisions": `{"decisions":[],"since":"2026-11-25T19:41:00.000Z"}`}, 404,
		[]string{"Decision 54fda24f7aa4f3c3 is not on record. Looked on 2 gateways, back to 2026-11-26 03:41."}, []string{"没有找到决策 54fda24f7aa4f3c3。找过 2 台网关，最早到 2026-11-26 03:41。"},
	},
	"a customer who is not on record": {
		"windows?corp_id=ww1&customer=wmNobody", map[string]string{"/v1/windows?limit=1": `{"windows":[],"since":"2026-11-29T00:00:00.000Z","incomplete":true}`}, 200,
		[]string{"No message of this customer is on record.", "Records are complete only since 2026-11-29 08:00"}, []string{"没有此客户的来信记录。", "记录自 2026-11-29 08:00 起才完整，不能断定客户没有来信。"},
	},
	"incomplete records": {
		"windows", map[string]string{"/v1/windows": `{"windows":[],"since":"2026-11-29T00:00:00.000Z","incomplete":true}`}, 200,
		[]string{"Records are complete only since 2026-11-29 08:00: in 34 h 30 min it will be certain who has not written."}, []string{"消息记录自 2026-11-29 08:00 才完整，还要 34 小时 30 分才能断定谁没有来信。"},
	},
	"a changed cursor": {
		"accounts?cursor=eyJz", map[string]string{"/v1/accounts": "400 bad_cursor"}, 400,
		[]string{"This position in the list is no longer known: begin with its first page.", "bad_cursor"}, []string{"列表中的这个位置已失效，请从第一页开始。"},
	},
	"a broken window": {
		"windows?corp_id=ww1&customer=wm1", map[string]string{"/v1/windows": `{"windows":[{"corp_id":"ww1","channel":"wk1","customer":"wm1","state":"broken","sent":[]}]}`}, 200,
		[]string{"The Redis key does not hold a window"}, []string{"此窗口的 Redis 键已损坏"},
	},
	"a rule that was never hit": {
		"rules", map[string]string{"/v1/rules": `{"since":"2026-11-28T02:02:00.000Z","rules":[{"name":"late","mode":"enforce"}]}`}, 200,
		[]string{"never hit since the reload at 2026-11-28 10:02"}, []string{"自 2026-11-28 10:02 重新加载以来从未命中"},
	},
	"an account without traffic": {
		"rehearsal?corp_id=ww1", map[string]string{"/v1/rehearsal": `{"corp_id":"ww1","standing":"lapsed","by":[]}`}, 200,
		[]string{"No traffic has come through the gateway yet: point the bots at it first."}, []string{"还没有流量经过网关，先让程序改用网关地址。"},
	},
	"decisions in memory alone": {
		"decisions", map[string]string{"/v1/decisions": `{"decisions":[{"id":"19acf8e92d84f3c3","at":"2026-11-29T13:20:26.094Z","verdict":"refuse"}],"memory_only":true}`}, 200,
		[]string{"Only the newest 50,000 are kept; for older ones set log.decisions to a file."}, []string{"只保留最近 50,000 条；要查更早的，请设 log.decisions 为文件。"},
	},
	"calls of unknown accounts": {
		"rehearsal", map[string]string{"/v1/rehearsal": `{"accounts":[],"unattributed":[{"capability":"mass_message","client":"unknown","calls":1312,"verdict":"refuse","refused":1312}]}`}, 200,
		[]string{"Calls whose account is not known", "1,312"}, []string{"企业未知的调用"},
	},
	"the overview": {
		"", nil, 200,
		[]string{"312 accounts, gateways: 2, rule set reply-only-2024, enforced", "14 chats close within the hour, and nobody has replied", "The first has 7:42: 云杉教育.", "蓝桥家居 stops in 2 d 2 h, on 2026-12-02"},
		[]string{"312 个企业，2 台网关，规则集 reply-only-2024，强制执行", "14 个会话将在 1 小时内关闭，还没有人回复", "最早的一个还剩 7:42：云杉教育。", "蓝桥家居将在 2 天 2 小时后停用（2026-12-02）"},
	},
	"settings": {"settings", nil, 200, []string{"In force since", "2026-11-28 10:02", "by a reload from 10.1.0.7:51220", "accounts.csv:3:9", ">312<"}, []string{"生效于", "由 10.1.0.7:51220 重新加载"}},
	"a count that fails": {
		"contacts", map[string]string{"/v1/contacts": `{"contacts":[{"corp_id":"ww1","standing":"active","problem":{"reason":"refused","errcode":60020,"why":"WeCom refuses","remedy":"add the address"}},` +
			`{"corp_id":"ww2","standing":"active","total":5,"as_of":"2026-11-20T00:00:00.000Z","source":"file","stale":true}]}`}, 200,
		[]string{"WeCom refuses contact_list or its token (errcode 60020): add the address of the gateway", "counted 9 d ago"}, []string{"企业微信拒绝了 contact_list 或其 token（errcode 60020）：请在企业微信管理后台将网关", "9 天前统计"},
	},
	"health": {
		"health", nil, 200,
		[]string{"single server; primary; memory 256 MiB of 4 GiB; maxmemory-policy noeviction; appendonly on", "0 B of 64 MiB", "Redis 0 ms, WeCom 4 ms", "the certificate is valid until 2027-02-01 00:00", "63 days", "no answer: 10.1.0.13:9090; need attention: –; another configuration: 10.1.0.12:9090; another version: –"},
		[]string{"单机；主节点；内存 256 MiB / 4 GiB；maxmemory-policy 为 noeviction；appendonly 已开启", "0 B / 64 MiB", "Redis 0 ms，企业微信 4 ms", "证书有效期至 2027-02-01 00:00", "63 天", "目前无法拒绝窗口外的回复：另一台网关没有租约：它可能有 Redis 缺少的消息，五分钟后将被移出；journal 中有 Redis 缺少的消息", "没有应答：10.1.0.13:9090；需要注意：–；配置不同：10.1.0.12:9090；版本不同：–"},
	},
	"an account": {
		"accounts/wwa03be7712f9c54e1", nil, 200,
		[]string{"lapsed since 2026-11-04 00:00: only replies within 48 hours pass", "the subscription ends, and grace begins", "rule set reply-only-2025 applies", "in 32 days", "complete only since 2026-11-29 08:00", "no reply of any kind was seen", "412", "Rules that name the account", ">7<"},
		[]string{"自 2026-11-04 00:00 起已失效：只放行 48 小时内的回复", "订阅到期，进入宽限期", "规则集 reply-only-2025 生效", "还有 32 天", "自 2026-11-29 08:00 才完整", "没有见到任何回复", "指明此企业或其主体的规则"},
	},
	"a stop within the hour": {
		"", map[string]string{"/v1/overview": `{"accounts":{"total":1},"decisions":{},"attention":[{"level":"urgent","kind":"stops","name":"Acme","at":"2026-11-29T14:20:00.000Z"}]}`}, 200,
		[]string{"Acme stops in 50:00, on 2026-11-29"}, []string{"Acme 将在 50:00 后停用（2026-11-29）"},
	},
	"tabs of accounts": {"accounts", nil, 200, []string{"Contacts ≥ 90% · "}, []string{"联系人 ≥ 90% · ", "已失效 · "}},
	"a window changed by hand": {
		"windows?corp_id=wwa03be7712f9c54e1&customer=wmHdKzDAAA7yQ2m0v8TnB4cXe1LrUa5Q", map[string]string{"/v1/windows": `{"windows":[{"corp_id":"ww1","channel":"wk1","customer":"wm1","state":"shut","sent":[]}],"changes":[{"action":"close","at":"2026-11-29T09:00:00.000Z","from":"10.1.0.7:51220","reason":"a phone call"}]}`}, 200,
		[]string{"Closed by hand", "2026-11-29 17:00", "10.1.0.7:51220", "a phone call"}, []string{"手动关闭"},
	},
	"a list as far back as its count": {
		"decisions?verdict=refuse&from=2026-11-29T00:00:00%2B08:00", nil, 200,
		[]string{"from “2026-11-29 00:00”"}, []string{"开始时间“2026-11-29 00:00”"},
	},
	"gateways that need attention": {
		"health", map[string]string{"/v1/health": `{"status":"attention","parts":[],"gateways":[{"id":"10.1.0.11:9090","status":"ok"},{"id":"10.1.0.12:9090","status":"failed"},{"id":"10.1.0.13:9090","status":"attention"}]}`}, 200,
		[]string{`<td data-label="State" class="ok">ok</td>`, `<td data-label="State" class="urgent">failed</td>`, `<td data-label="State" class="soon">attention</td>`},
		[]string{`<td data-label="状态" class="urgent">失败</td>`},
	},
	"deliveries that fail": {
		"health", map[string]string{"/v1/health": `{"status":"failed","parts":[{"name":"deliveries","status":"failed","code":"deliveries_disabled","values":{"names":["crm","ops"],"due":12},"value":"12 due","count":2,"doc":"docs/events.md"}],"gateways":[]}`}, 200,
		[]string{"Deliveries of events", "disabled, so that nothing is sent any more: crm; ops (12 due)", "12 due"}, []string{"事件投递", "已停用，不再发送：crm；ops（待投递 12）", "待投递 12"},
	},
}

// Pages put each state into words, in both languages.
func TestStates(t *testing.T) {
	for name, c := range states {
		r := newRig(t, nil)
		cookie := r.signIn()
		r.api = func(w http.ResponseWriter, req *http.Request) bool {
			key := req.URL.Path
			for given := range c.answer { // a query is given by a part of it
				if path, query, _ := strings.Cut(given, "?"); path == req.URL.Path && (req.URL.RawQuery == query || query != "" && strings.HasSuffix(req.URL.RawQuery, "&"+query)) {
					key = given
				}
			}
			answer, ok := c.answer[key]
			switch code, isCode := strings.CutPrefix(answer, "400 "); {
			case isCode:
				return fail(w, http.StatusBadRequest, code)
			case ok:
				_, _ = w.Write([]byte(answer))
				return true
			case req.URL.Path == "/v1/windows" && req.URL.Query().Get("customer") != "":
				return fail(w, http.StatusNotFound, "no_window")
			case strings.HasPrefix(req.URL.Path, "/v1/decisions/54"):
				return fail(w, http.StatusNotFound, "no_decision")
			}
			return false
		}
		for lang, want := range map[string][]string{"en": c.en, "zh": c.zh} {
			status, body := r.page(c.path, lang, cookie)
			prose := html.UnescapeString(body)
			for _, text := range want {
				if status != c.status || !strings.Contains(prose, text) {
					t.Errorf("%s in %s: HTTP %d without %q", name, lang, status, text)
				}
			}
		}
	}
}

// The failure of an export is a page for a person, and JSON for a program.
func TestBusyExport(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	busy := true
	r.api = func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Query().Get("format") != "csv" {
			return false
		}
		if busy {
			w.Header().Set("Retry-After", "5")
			return fail(w, http.StatusTooManyRequests, "too_many")
		}
		w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
		_, _ = w.Write([]byte("corp_id\n"))
		return true
	}
	get := func(accept string) (*http.Response, string) {
		res := r.call("GET", "/v1/accounts?format=csv&standing=lapsed", nil, "Cookie", cookie, "Accept", accept)
		return res, text(res)
	}
	res, body := get("text/html,application/xhtml+xml")
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "5" || !strings.Contains(body, "Another export is running; try again soon.") ||
		!strings.Contains(body, `href="../console/../v1/accounts?format=csv&amp;standing=lapsed"`) || res.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("for a person: HTTP %d %s", res.StatusCode, body)
	}
	if res, body := get("*/*"); res.StatusCode != http.StatusTooManyRequests || !strings.HasPrefix(body, `{"error"`) {
		t.Errorf("for a program: HTTP %d %s", res.StatusCode, body)
	}
	busy = false
	if res, body := get("text/html"); res.StatusCode != http.StatusOK || body != "corp_id\n" || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/csv") {
		t.Errorf("an export: HTTP %d %s", res.StatusCode, body)
	}
}

// Every list leads to its rows as CSV by the filters of the page, and to its next page.
func TestListsLeadOn(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	r.api = func(w http.ResponseWriter, req *http.Request) bool {
		data, err := os.ReadFile(filepath.Join("../testdata/console/api", strings.ReplaceAll(strings.Trim(req.URL.Path, "/"), "/", "_")+".json"))
		var answer map[string]any
		if err != nil || json.Unmarshal(data, &answer) != nil {
			return false
		}
		answer["next"] = "eyJz"
		_ = json.NewEncoder(w).Encode(answer)
		return true
	}
	for path, want := range map[string]string{
		"accounts?standing=lapsed&sort=name": "../v1/accounts?format=csv&sort=name&standing=lapsed", "closing": "../v1/closing?format=csv&within=1h",
		"contacts?kind=free": "../v1/contacts?format=csv&kind=free", "entities?q=a": "../v1/entities?format=csv&q=a", "windows?corp_id=ww1": "../v1/windows?corp_id=ww1&format=csv",
		"decisions?verdict=refuse": "../v1/decisions?format=csv&verdict=refuse", "rehearsal": "../v1/rehearsal?format=csv&language=en",
	} {
		status, body := r.page(path, "en", cookie)
		body = html.UnescapeString(body)
		if status != http.StatusOK || !strings.Contains(body, `href="./`+want+`"`) || !strings.Contains(body, "cursor=eyJz") {
			t.Errorf("%s: HTTP %d, without %s or its next page", path, status, want)
		}
	}
}

// A part of a list without rows leads to the next part, and does not say that there is nothing.
func TestPartWithoutRows(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	more := true
	r.api = func(w http.ResponseWriter, req *http.Request) bool {
		list, found := map[string]string{"/v1/decisions": "decisions", "/v1/closing": "waiting", "/v1/windows": "windows"}[req.URL.Path]
		if !found {
			return false
		}
		answer := map[string]any{list: []any{}, "index": "all", "counts": map[string]int{}, "hours": []int{}, "untold": []any{}}
		if more {
			answer["next"] = "eyJz"
		}
		_ = json.NewEncoder(w).Encode(answer)
		return true
	}
	for path, none := range map[string]string{"decisions?corp_id=ww1": "No decision fits.", "closing?channel=wk1": "No chat closes", "windows": "No window is listed."} {
		for _, more = range []bool{true, false} {
			status, body := r.page(path, "en", cookie)
			leads := strings.Contains(body, "cursor=eyJz") && strings.Contains(body, "Go on to the next one.")
			if status != http.StatusOK || leads != more || strings.Contains(body, none) == more {
				t.Errorf("%s, more %v: HTTP %d, leads on %v, says %q: %v", path, more, status, leads, none, strings.Contains(body, none))
			}
		}
	}
}

// Whether only a bot answered can be asked where all windows are listed.
func TestByServicerNeedsTheIndex(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	var index string
	r.api = func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path != "/v1/closing" {
			return false
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"waiting": []any{}, "index": index, "counts": map[string]int{}, "hours": []int{}, "untold": []any{}})
		return true
	}
	for _, index = range []string{"all", "waiting"} {
		if _, body := r.page("closing", "en", cookie); strings.Contains(body, `value="servicer"`) != (index == "all") {
			t.Errorf("index %s: the box is there: %v", index, index != "all")
		}
	}
}

// The rows of a replay name their account, and an hour in the console's time zone.
func TestRowsOfAReplay(t *testing.T) {
	r := newRig(t, nil)
	_, body := r.page("replays/b7", "en", r.signIn())
	for _, want := range []string{"accounts/wwa03be7712f9c54e1", "2026-11-29 18:00"} {
		if !strings.Contains(body, want) {
			t.Errorf("without %s", want)
		}
	}
}

// A form that is too large is not taken for an empty one.
func TestCandidateTooLarge(t *testing.T) {
	r := newRig(t, nil)
	body := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"c.yaml\"\r\n\r\n" + strings.Repeat("#", 2<<20) + "\r\n--b--\r\n"
	res := r.post("/console/rules/replay", body, "Content-Type", "multipart/form-data; boundary=b", "Cookie", r.signIn())
	if page := text(res); res.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(page, "The file is too large") {
		t.Errorf("HTTP %d %s", res.StatusCode, page)
	}
	if last := r.asked[len(r.asked)-1]; strings.Contains(last, "/v1/replays") {
		t.Errorf("the API was asked %s", last)
	}
}

// A candidate may be a file.
func TestCandidateFile(t *testing.T) {
	r := newRig(t, nil)
	body := "--b\r\nContent-Disposition: form-data; name=\"candidate\"\r\n\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"c.yaml\"\r\n\r\npolicy: {}\r\n--b--\r\n"
	res := r.post("/console/rules/replay", body, "Content-Type", "multipart/form-data; boundary=b", "Cookie", r.signIn())
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "../replays/b7" {
		t.Fatalf("HTTP %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	if last := r.asked[len(r.asked)-1]; !strings.Contains(last, `{"candidate":"policy: {}"}`) {
		t.Errorf("the API was asked %s", last)
	}
}

// A failure of a part of a page is told in the language of the page; a held reload says why too.
func TestFailuresInTheLanguage(t *testing.T) {
	for _, c := range []struct {
		method, path, form, api, code string
		want                          map[string]string
	}{
		{"POST", "rules/replay", "candidate=x", "/v1/replays", "too_many", map[string]string{"en": "Another such request is running", "zh": "同样的请求正在进行"}},
		{"POST", "settings/reload", "key=" + changeKey, "/v1/reload", "held", map[string]string{"en": "waits for your confirmation", "zh": "重新加载需要确认"}},
		{"POST", "windows/open", "corp_id=wwA&customer=wm&reason=x&key=" + changeKey, "/v1/windows/open", "bad_customer", map[string]string{"en": "The id of the customer", "zh": "客户 ID"}},
	} {
		for _, lang := range languages {
			r := newRig(t, nil)
			cookie := r.signIn()
			r.api = func(w http.ResponseWriter, req *http.Request) bool {
				return req.URL.Path == c.api && fail(w, http.StatusConflict, c.code)
			}
			res := r.send(c.method, "/console/"+c.path, c.form, "Cookie", cookie+"; replygate-lang="+lang, "Content-Type", "application/x-www-form-urlencoded")
			body := text(res)
			if !strings.Contains(body, c.want[lang]) || strings.Contains(body, "the API says") != (c.code == "held") {
				t.Errorf("%s in %s: HTTP %d has no %q", c.path, lang, res.StatusCode, c.want[lang])
			}
		}
	}
}

// Texts tell the configured length of a window, and the command that counts names the account.
func TestTextsHaveTheirValues(t *testing.T) {
	r := newRig(t, func(s *console.Settings) { s.Window = 36 * time.Hour })
	cookie := r.signIn()
	r.api = func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path != "/v1/contacts" {
			return false
		}
		_, _ = w.Write([]byte(`{"contacts":[{"corp_id":"wwA","name":"A","standing":"active","problem":{"reason":"stale","why":"x","remedy":"y"}}],"total":1}`))
		return true
	}
	for _, c := range []struct{ path, lang, want string }{
		{"windows", "en", "opens a window of 36 hours"},
		{"windows", "zh", "客户来信后 36 小时内"},
		{"accounts", "en", "only replies within 36 hours"},
		{"contacts", "en", "replygate contacts count --corp wwA"},
		{"contacts", "zh", "replygate contacts count --corp wwA"},
	} {
		if _, body := r.page(c.path, c.lang, cookie); !strings.Contains(body, c.want) {
			t.Errorf("%s in %s has no %q", c.path, c.lang, c.want)
		}
	}
}
