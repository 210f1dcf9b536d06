package wecom

import "slices"

// withChannel are the kf calls whose body holds the open_kfid that they are about, beside those
// that recipients.tsv lists. WeCom takes no channel of another corp there (error 95004); in every
// other body it does not look at one.
var withChannel = []string{
	"/cgi-bin/kf/account/del", "/cgi-bin/kf/account/update", "/cgi-bin/kf/add_contact_way",
	"/cgi-bin/kf/customer/cancel_upgrade_service", "/cgi-bin/kf/get_corp_statistic", "/cgi-bin/kf/get_servicer_statistic",
	"/cgi-bin/kf/service_state/get", PathStateTrans, "/cgi-bin/kf/servicer/add", "/cgi-bin/kf/servicer/del", PathSyncMsg,
}

// TakesChannel tells whether WeCom looks at the open_kfid in the body of a call, so that it tells
// whose the call is.
func (e *Endpoint) TakesChannel() bool {
	return slices.Contains(withChannel, e.Path) ||
		slices.ContainsFunc(e.fields.body, func(f field) bool { return f.role == roleChannel })
}

// ReadChannel returns the open_kfid that the body of a kf call names, "" if it names none plainly.
func ReadChannel(call Sent) string {
	values, _ := call.members("open_kfid")
	if channel := plainText(values["open_kfid"]); len(channel) <= MaxID {
		return channel
	}
	return ""
}
