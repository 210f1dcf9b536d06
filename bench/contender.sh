#!/usr/bin/env bash
# Runs the gateway, as users run it, for a bench that compares proxies. Environment: PORT to listen on, UPORT and RPORT
# of upstream and Redis, DATA with tokens.map ("TOKEN ACCOUNT" a line) and windows.txt ("ACCOUNT:CUSTOMER" a line, all
# open), RUNDIR for its files; optional: REPLIES is window.replies (default 0), STANDING lapsed (default) or active,
# CHANNEL the open_kfid of the calls.
set -euo pipefail
: "${PORT:?}" "${UPORT:?}" "${RPORT:?}" "${DATA:?}" "${RUNDIR:?}"
here=$(cd "$(dirname "$0")" && pwd)
for program in replygate bench; do
  if [ ! -x "$here/.work/$program" ]; then
    echo "build first: bench/run.sh -h" >&2
    exit 1
  fi
done
channel=${CHANNEL:-wkAJ2GCAAAZSfhHCt7IFSvLKtMPxyJTw}
"$here/.work/bench" -seed "$DATA" -redis "127.0.0.1:$RPORT" -channel "$channel" >&2
ends=2020-01-01T00:00:00Z
[ "${STANDING:-lapsed}" = lapsed ] || ends=2099-01-01T00:00:00Z
{
  echo "listen: { api: \"127.0.0.1:$PORT\", admin: \"127.0.0.1:0\" }"
  echo "upstream: { url: \"http://127.0.0.1:$UPORT\" }"
  echo "redis: { mode: single, addrs: [\"127.0.0.1:$RPORT\"] }"
  echo "journal: { path: \"$RUNDIR/journal\" }"
  echo "window: { replies: ${REPLIES:-0} }"
  echo "log: { decisions: \"$RUNDIR/decisions.log\" }"
  echo "accounts:"
  cut -d' ' -f2 "$DATA/tokens.map" | sort -u | sed "s/.*/  - { corp_id: &, subscription: { expires_at: $ends } }/"
} >"$RUNDIR/replygate.yaml"
exec "$here/.work/replygate" serve -c "$RUNDIR/replygate.yaml" >"$RUNDIR/access.log"
