#!/usr/bin/env bash
# The first minutes with replygate, typed as in docs/getting-started.md: clone, build, check, serve, a first call, a
# first refusal, and why. Prints each command and its output. Needs git, Go and curl.
# Usage: docs/first-walk.sh [REPOSITORY]; without one it clones the repository that the script is in.
set -euo pipefail
repository=${1:-$(cd "$(dirname "$0")/.." && pwd)}
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
exec 2>&1
cd "$folder"
set -v

git clone -q "$repository" replygate
cd replygate

# build it
go build -o bin/replygate ./cmd/replygate
export PATH="$PWD/bin:$PATH"
replygate version

# a simulated WeCom, and a configuration with one account whose subscription has ended
replygate simulate > simulate.log &
cat > replygate.yaml <<'END'
upstream: { url: http://127.0.0.1:8090 } # the simulated WeCom; without this line the real one
accounts:
  - corp_id: ww0123456789abcdef
    name: Acme East
    subscription: { expires_at: 2026-10-01T00:00:00+08:00, grace: 72h }
END
replygate check -c replygate.yaml

# the gateway
replygate serve -c replygate.yaml > gateway.log 2>&1 &
until curl -sf http://127.0.0.1:9090/readyz; do sleep 0.1; done

# the bot fetches a token through the gateway
TOKEN=$(curl -s 'http://127.0.0.1:8080/cgi-bin/gettoken?corpid=ww0123456789abcdef&corpsecret=demo-secret' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

# a customer writes, the bot pulls the message, and replies: the first call that is judged passes
curl -sw '\n' http://127.0.0.1:8090/simulator/customer-writes -d '{"corp_id":"ww0123456789abcdef","channel":"wkDemoChannel","customer":"wmLi","text":"hello"}'
curl -sw '\n' "http://127.0.0.1:8080/cgi-bin/kf/sync_msg?access_token=$TOKEN" -d '{"open_kfid":"wkDemoChannel"}'
curl -si "http://127.0.0.1:8080/cgi-bin/kf/send_msg?access_token=$TOKEN" -d '{"touser":"wmLi","open_kfid":"wkDemoChannel","msgtype":"text","text":{"content":"hi"}}'

# the first refusal: a mass message
curl -sw '\n' "http://127.0.0.1:8080/cgi-bin/externalcontact/add_msg_template?access_token=$TOKEN" -d '{"external_userid":["wmLi"],"text":{"content":"sale"}}'

# why, in English and in Chinese, and what is open
replygate explain --corp ww0123456789abcdef /cgi-bin/externalcontact/add_msg_template
replygate explain --language zh --corp ww0123456789abcdef /cgi-bin/externalcontact/add_msg_template
replygate windows list --all

# stop both; the clone is as it was
kill %2 %1
wait
git status --short
set +v
