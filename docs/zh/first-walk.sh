#!/usr/bin/env bash
# 新管理员的第一程：克隆、构建、检查、启动、第一次调用、第一次拒绝，并查明原因。本脚本不重复写命令，而是依次执行
# README.zh-CN.md 和 docs/zh/getting-started.md 中的 bash 代码块和 export 行，打印每条命令及其输出。需要 git、Go 和 curl。
# 用法：docs/zh/first-walk.sh [仓库]；不写仓库时克隆脚本所在的仓库。
set -euo pipefail
repository=${1:-$(cd "$(dirname "$0")/../.." && pwd)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git clone -q "$repository" "$folder/replygate"
cd "$folder/replygate"

# 两页都有的代码块只执行一次；中途失败时结束已启动的进程
{
  echo 'set -euo pipefail'
  echo "trap 'kill \$(jobs -p) 2>/dev/null || true; wait' EXIT"
  echo 'set -v'
  awk '
    /^    export / { print substr($0, 5) }
    on && /^```/ { on = 0; if (!seen[block]++) printf "%s\n", block }
    on { block = block $0 "\n" }
    /^```bash$/ { on = 1; block = "" }
  ' README.zh-CN.md docs/zh/getting-started.md
  echo 'git status --short'
  echo 'set +v'
} > "$folder/walk.sh"
bash "$folder/walk.sh" 2>&1
