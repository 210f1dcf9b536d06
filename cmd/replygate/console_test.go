package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"replygate/config"
	"replygate/store/storetest"
)

// Over a running gateway a person signs in, and every page of the navigation has its data, in both
// languages and without a key in it; a change goes through the form and into the audit log.
func TestConsole(t *testing.T) {
	const read, change = "console-read-key-0123456789", "console-change-key-0123456789"
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Admin = config.Admin{ReadKey: read, ChangeKey: change, MetricsKey: "console-metrics-key"}
		c.Accounts[0].Name = "<script>alert(1)</script>"
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	base := "http://" + r.gateway.control.Addr().String() + "/"
	body := func(res *http.Response, err error) (int, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	if status, page := body(client.Get(base)); status != http.StatusOK || !strings.Contains(page, "admin.read_key") {
		t.Fatalf("signed out: %d %.200s", status, page)
	}
	status, page := body(client.PostForm(base+"console/login", url.Values{"key": {read}}))
	if status != http.StatusOK {
		t.Fatalf("sign-in: %d", status)
	}
	links := regexp.MustCompile(`<li><a href="\./([a-z]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 4 {
		t.Fatalf("the navigation has %v", links)
	}
	pages := []string{"accounts/" + corpID, "entities/golden", "windows?corp_id=" + corpID + "&customer=" + wrote}
	for _, l := range links {
		pages = append(pages, l[1])
	}
	for _, path := range pages {
		for _, lang := range []string{"zh", "en"} {
			separator := "?"
			if strings.Contains(path, "?") {
				separator = "&"
			}
			status, page := body(client.Get(base + "console/" + path + separator + "lang=" + lang))
			if status != http.StatusOK {
				t.Errorf("%s: %d %.300s", path, status, page[max(strings.Index(page, "<main"), 0):])
			}
			for _, bad := range []string{"<script>alert", "%!", "<no value>", read, change, secret} {
				if strings.Contains(page, bad) {
					t.Errorf("%s shows %s", path, bad)
				}
			}
		}
	}
	form := url.Values{"corp_id": {corpID}, "channel": {channel}, "customer": {wrote}, "reason": {"they called"}, "key": {change}}
	if status, page := body(client.PostForm(base+"console/windows/open", form)); status != http.StatusOK || !strings.Contains(page, "The window is open.") {
		t.Errorf("opening a window: %d %.300s", status, page[max(strings.Index(page, "<main"), 0):])
	}
	if log := r.log(); !strings.Contains(log, "they called") {
		t.Error("the audit log lacks the change")
	}
}
