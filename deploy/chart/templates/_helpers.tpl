{{- define "replygate.selector" -}}
app.kubernetes.io/name: replygate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "replygate.labels" -}}
{{ include "replygate.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* replygate.config is replygate.yaml: what the values say, over what a pod needs. The image sets
     listen.api and listen.callback. */ -}}
{{- define "replygate.config" -}}
{{- $redis := dict -}}
{{- if .Values.redisPassword -}}
{{- $_ := set $redis "password_file" "/run/secrets/replygate/redis_password" -}}
{{- end -}}
{{- $needed := dict
  "listen" (dict "admin" "0.0.0.0:9090")
  "admin" (dict "read_key_file" "/run/secrets/replygate/read_key" "change_key_file" "/run/secrets/replygate/change_key" "metrics_key_file" "/run/secrets/replygate/metrics_key" "peers" (list (printf "%s-pods:9090" .Release.Name)))
  "redis" $redis
  "journal" (dict "path" "/data/replygate.journal")
  "shutdown" (dict "lame_duck" "5s" "grace" "20s") -}}
{{- $config := mergeOverwrite $needed (deepCopy .Values.config) -}}
{{- if and (gt (int .Values.replicas) 1) (eq (dig "redis" "mode" "embedded" $config) "embedded") -}}
{{- fail "config.redis.mode: replicas share a Redis: write single, sentinel or cluster with addrs, or replicas: 1" -}}
{{- end -}}
{{- if not (or (hasKey $config "accounts") (hasKey $config "accounts_file")) -}}
{{- fail "config.accounts: name the accounts, or write accounts_file: accounts.csv and give accounts" -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}
