// Package bot runs a bot on a WeCom client that nobody here wrote. It reads commands from standard
// input, one JSON object a line, and writes what the client's user sees, one object a line.
//
// It knows nothing of the gateway: the base URL among the arguments is all that tells a bot of it.
package bot

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// Config is what a bot is started with.
type Config struct {
	BaseURL, CorpID, Secret string
	CallbackToken, AESKey   string
}

// Command is one thing to do; each action reads the fields that it needs.
type Command struct {
	Do       string `json:"do"`
	Customer string `json:"customer"`
	Channel  string `json:"channel"`
	Text     string `json:"text"`
	Token    string `json:"token"`
	Size     int    `json:"size"`
	Query    string `json:"query"`
	Body     string `json:"body"`
}

// Answer is what the client's user sees of a call.
type Answer struct {
	Errcode *int64 `json:"errcode"`          // absent: the client's API does not show it
	Error   string `json:"error,omitempty"`  // the text of the error, empty where there is none
	Cannot  bool   `json:"cannot,omitempty"` // the client has no such call

	MediaID  string `json:"media_id,omitempty"`
	Name     string `json:"name,omitempty"`     // of a customer
	Messages int    `json:"messages,omitempty"` // pulled
	Event    string `json:"event,omitempty"`    // of a callback
	Channel  string `json:"channel,omitempty"`  // of a callback
	Reply    string `json:"reply,omitempty"`    // the bot's answer to a callback
}

// Action makes one call.
type Action func(Command) Answer

// Seen is an answer with an errcode, and with the error's text if there is one.
func Seen(errcode int64, err error) Answer {
	a := Answer{Errcode: &errcode}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// Cannot is the answer of a client that has no such call.
func Cannot(why string) Answer { return Answer{Error: why, Cannot: true} }

// Hidden is an error whose errcode the client does not show.
func Hidden(err error) Answer { return Answer{Error: err.Error()} }

// Run does what it is told until standard input ends.
func Run(start func(Config) (map[string]Action, error)) {
	if err := run(start); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(start func(Config) (map[string]Action, error)) error {
	if len(os.Args) < 6 {
		return fmt.Errorf("usage: %s BASE_URL CORP_ID SECRET CALLBACK_TOKEN AES_KEY", os.Args[0])
	}
	a := os.Args[1:]
	actions, err := start(Config{BaseURL: a[0], CorpID: a[1], Secret: a[2], CallbackToken: a[3], AESKey: a[4]})
	if err != nil {
		return err
	}
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var c Command
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			return fmt.Errorf("command %s: %w", in.Bytes(), err)
		}
		action := actions[c.Do]
		if action == nil {
			action = func(Command) Answer { return Cannot("no such call") }
		}
		if err := out.Encode(action(c)); err != nil {
			return err
		}
	}
	return in.Err()
}
