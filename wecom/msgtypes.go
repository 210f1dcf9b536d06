package wecom

import "slices"

// msgTypes are the values of msgtype in WeCom's documentation of the calls that have one (DOC
// 94677, 90236, 90248, 90250, 91609, 91770, 101138).
var msgTypes = []string{
	"business_card", "ca_link", "file", "image", "interactive_taskcard", "link", "location", "markdown", "markdown_v2",
	"miniprogram", "miniprogram_notice", "mpnews", "msgmenu", "news", "stream", "stream_with_template_card", "taskcard",
	"template_card", "text", "textcard", "video", "voice",
}

// MsgTypes returns the sorted values of msgtype that WeCom documents.
func MsgTypes() []string { return slices.Clone(msgTypes) }
