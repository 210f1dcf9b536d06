// Package wecom holds everything that is specific to WeCom: the catalogue of its server API with
// the capability of each path, the parsers of calls, callbacks and answers, the encryption of
// callbacks, and the format of its errors. "DOC n" in a comment is the page n below
// developer.work.weixin.qq.com/document/path/.
//
// It does not depend on HTTP servers or clients, Redis, accounts or rules: it works on paths,
// queries and bodies, so tests and tools can use it alone. Package policy decides about calls.
package wecom
