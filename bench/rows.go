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

// load describes how calls are sent.
type load struct {
	name    string
	clients int // concurrent connections
	rate    int // calls per second; 0: each connection sends as soon as it has an answer
}

// kind describes a kind of call.
type kind struct {
	name    string
	corp    string // "": direct, without the gateway
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

// rows returns all rows. clients is the number of connections of the first load.
func rows(clients int) []row {
	direct := kind{"direct, no gateway", "", 0, replyPath, open, "0"}
	passed := kind{"active account, passed", active, 0, replyPath, open, "0"}
	cached := kind{"lapsed, reply, replies: 0", lapsed, 0, replyPath, seen, "0"}
	counted := kind{"lapsed, reply, counted", lapsed, 1000, replyPath, open, "0"}
	noWindow := kind{"lapsed, refused, no window", lapsed, 1000, replyPath, nobody, "95002"}
	refused := kind{"lapsed, refused, interface", lapsed, 1000, "/cgi-bin/externalcontact/add_msg_template", mass, "48002"}

	var all []row
	at := func(l load, kinds ...kind) {
		for _, k := range kinds {
			all = append(all, row{k, l})
		}
	}
	at(load{name: fmt.Sprintf("%d connections", clients), clients: clients}, direct, passed, cached, counted, noWindow, refused)
	at(load{name: "2000 calls a second", clients: clients, rate: 2000}, direct, passed, cached, counted, noWindow, refused)
	at(load{name: "one connection", clients: 1}, direct, passed, cached, counted, noWindow, refused)
	return all
}

const replyPath = "/cgi-bin/kf/send_msg"

// open is a reply to each of all customers in turn. seen is one to the first thousand, whose
// windows are cached after that many calls. nobody is one to a customer who never wrote, and mass
// is a mass message.
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
