package wecom

import "slices"

// withChannel lists the kf calls, besides those in recipients.tsv, with an open_kfid in the body
// that WeCom checks: a channel of another corp gets errcode 95004. Other calls ignore that member.
var withChannel = []string{
	"/cgi-bin/kf/account/del", "/cgi-bin/kf/account/update", "/cgi-bin/kf/add_contact_way",
	"/cgi-bin/kf/customer/cancel_upgrade_service", "/cgi-bin/kf/get_corp_statistic", "/cgi-bin/kf/get_servicer_statistic",
	"/cgi-bin/kf/service_state/get", "/cgi-bin/kf/servicer/add", "/cgi-bin/kf/servicer/del", PathSyncMsg,
}

// TakesChannel reports whether WeCom checks the open_kfid in the body of a call of e, so that the
// channel identifies the corp.
func (e *Endpoint) TakesChannel() bool {
	return slices.Contains(withChannel, e.Path) ||
		slices.ContainsFunc(e.fields.body, func(f field) bool { return f.role == roleChannel })
}

// ReadChannel returns the open_kfid in the body of a kf call, "" if it is absent or ambiguous.
func ReadChannel(call Sent) string {
	values, _ := call.members("open_kfid")
	if channel := plainText(values["open_kfid"]); len(channel) <= MaxID {
		return channel
	}
	return ""
}

// HasPullToken reports whether the body of a kf/sync_msg call has the token of a callback. WeCom
// limits the rate of calls without one (DOC 94670).
func HasPullToken(call Sent) bool {
	values, _ := call.members("token")
	return plainText(values["token"]) != ""
}
