package main

import (
	"fmt"
	"strconv"
)

const (
	active    = "wwBenchActive"
	lapsed    = "wwBenchLapsed"
	customers = 20_000 // with an open window
)

// load is how calls are sent.
type load struct {
	name    string
	clients int // connections at a time
	rate    int // calls a second; 0: each as soon as the one before it is answered
}

// kind is a kind of call.
type kind struct {
	name    string
	corp    string // "": past the gateway
	replies int    // window.replies of the gateway
	target  string
	body    func(i int64) []byte
	errcode string // that every answer must have
}

// row is one kind of call at one load.
type row struct {
	kind
	load load
}

// rows are what is measured; those with many clients have as many as given.
func rows(clients int) []row {
	direct := kind{"direct, no gateway", "", 0, replyPath, open, "0"}
	passed := kind{"active account, passed", active, 0, replyPath, open, "0"}
	remembered := kind{"lapsed, reply, replies: 0", lapsed, 0, replyPath, seen, "0"}
	counted := kind{"lapsed, reply, counted", lapsed, 1000, replyPath, open, "0"}
	noWindow := kind{"lapsed, refused, no window", lapsed, 1000, replyPath, nobody, "95002"}
	refused := kind{"lapsed, refused, interface", lapsed, 1000, "/cgi-bin/externalcontact/add_msg_template", mass, "48002"}

	var all []row
	at := func(l load, kinds ...kind) {
		for _, k := range kinds {
			all = append(all, row{k, l})
		}
	}
	at(load{name: fmt.Sprintf("%d connections", clients), clients: clients}, direct, passed, remembered, counted, noWindow, refused)
	at(load{name: "2000 calls a second", clients: clients, rate: 2000}, direct, passed, remembered, counted, noWindow, refused)
	at(load{name: "one connection", clients: 1}, direct, passed, remembered, counted, noWindow, refused)
	return all
}

const replyPath = "/cgi-bin/kf/send_msg"

// open is a reply to one of all customers by turns, seen to one of those whose windows are
// remembered after the first thousand calls, nobody to one who never wrote, and mass a send of the
// company's own accord.
func open(i int64) []byte   { return reply(customer(int(i % customers))) }
func seen(i int64) []byte   { return reply(customer(int(i % 1000))) }
func nobody(i int64) []byte { return reply("wmNobody" + strconv.FormatInt(i%customers, 10)) }
func mass(int64) []byte {
	return []byte(`{"external_userid":["wmA"],"sender":"z","text":{"content":"x"}}`)
}

func reply(customer string) []byte {
	return fmt.Appendf(nil, `{"touser":%q,"open_kfid":"wkBench","msgtype":"text","text":{"content":"Your order has been shipped."}}`, customer)
}

func customer(i int) string { return fmt.Sprintf("wmBenchCustomer%016d", i) }
