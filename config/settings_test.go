package config

import "testing"

// Of a URL the settings show what is no secret.
func TestSettingsHideSecretsOfURLs(t *testing.T) {
	for given, want := range map[string]string{
		"https://crm.example.com/send?access_token=s3cret":   "https://crm.example.com/send?***",
		"https://ops:s3cret@crm.example.com/a%2Fb?x=1&y=2#z": "https://ops:***@crm.example.com/a%2Fb?***",
		"https://crm.example.com/send":                       "https://crm.example.com/send",
		"what?":                                              "what?",
	} {
		c := &Config{Events: Events{Webhooks: []Webhook{{Name: "crm", URL: given}}}}
		found := false
		for _, s := range c.Settings() {
			if s.Key != "events.webhooks[0].url" {
				continue
			}
			if found = true; s.Value != want {
				t.Errorf("%s is shown as %v, want %s", given, s.Value, want)
			}
		}
		if !found {
			t.Errorf("%s is not listed", given)
		}
	}
}
