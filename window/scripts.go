package window

import (
	"context"
	"embed"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The scripts do in Redis, atomically, what the functions of window.go do. All but record leave a
// key alone that holds no window.
var (
	recordScript  = script("record")
	reserveScript = script("deadline_guard", "reserve")
	releaseScript = script("prelude", "release")
	exhaustScript = script("prelude", "exhaust")
	correctScript = script("prelude", "correct")
	closeScript   = script("prelude", "close")

	consumeCodeScript = script("deadline_guard", "consume_code")
	restoreCodeScript = script("restore_code")

	answerScript = script("answer")

	raiseScript = script("raise")
	leaseScript = script("lease")
)

//go:embed lua
var lua embed.FS

// script concatenates files of lua/.
func script(names ...string) *redis.Script {
	var text strings.Builder
	for _, name := range names {
		part, err := lua.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic("BUG: " + err.Error())
		}
		text.Write(part)
	}
	return redis.NewScript(text.String())
}

// runEach runs a script once for each key, in one pipeline. A second pipeline repeats it, with the
// script's text, where Redis does not have the script. Each command has its own error.
func runEach(ctx context.Context, c redis.Cmdable, s *redis.Script, keys []string, args func(i int) []any) []*redis.Cmd {
	p := c.Pipeline()
	cmds := make([]*redis.Cmd, len(keys))
	for i, key := range keys {
		cmds[i] = s.EvalSha(ctx, p, []string{key}, args(i)...)
	}
	_, _ = p.Exec(ctx)
	for i, key := range keys {
		if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
			cmds[i] = s.Eval(ctx, p, []string{key}, args(i)...)
		}
	}
	_, _ = p.Exec(ctx)
	return cmds
}
