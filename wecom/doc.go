// Package wecom is all that is WeCom's: the catalogue of its server API with what each path can do
// to a customer, the reading of calls and answers as bytes, and the shape of its errors.
//
// It does not know HTTP servers or clients, Redis, accounts or rules: it works on paths, queries
// and bodies, so that tests and tools use it bare. What a rule makes of a call is package policy's
// matter.
package wecom
