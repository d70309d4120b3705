{{- /* The values of the monitor that is enabled, or none. As YAML. */ -}}
{{- define "csr-warden.monitor" -}}
{{- with .Values.monitoring }}
{{- if .serviceMonitor.enabled }}
{{- toYaml .serviceMonitor }}
{{- else if .podMonitor.enabled }}
{{- toYaml .podMonitor }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The monitor needs a token, and none is named: "true" or "". */ -}}
{{- define "csr-warden.scraper" -}}
{{- with include "csr-warden.monitor" . | fromYaml }}
{{- if and $.Values.metrics.auth.enabled (not .authorization) }}true{{ end }}
{{- end }}
{{- end }}

{{- /* The endpoint of a monitor. Of `root` and `monitor`, and `job`, the label that a Service would give. */ -}}
{{- define "csr-warden.scrape" -}}
{{- $monitor := .monitor }}
{{- $relabelings := $monitor.relabelings }}
{{- with .job }}
{{- $relabelings = prepend $relabelings (dict "targetLabel" "job" "replacement" .) }}
{{- end -}}
port: http
path: /metrics
{{- with $monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with $monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- if $monitor.honorLabels }}
honorLabels: true
{{- end }}
{{- with $relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.metrics.tls.secretName }}
scheme: https
tlsConfig:
  {{- $ca := dict "secret" (dict "name" . "key" "ca.crt") }}
  {{- $name := printf "%s.%s.svc" (include "csr-warden.fullname" $.root) (include "csr-warden.namespace" $.root) }}
  {{- $monitor.tlsConfig | default (dict "ca" $ca "serverName" $name) | toYaml | nindent 2 }}
{{- end }}
{{- if $monitor.authorization }}
authorization:
  {{- toYaml $monitor.authorization | nindent 2 }}
{{- else if include "csr-warden.scraper" .root }}
authorization:
  credentials: {name: {{ include "csr-warden.fullname" .root }}-scraper, key: token}
{{- end }}
{{- end }}

{{- /* The Pods of the release, seen from another namespace. Of `root` and `monitor`. */ -}}
{{- define "csr-warden.scraped" -}}
{{- if .monitor.namespace }}
namespaceSelector:
  matchNames: [{{ include "csr-warden.namespace" .root }}]
{{- end }}
selector:
  matchLabels:
    {{- include "csr-warden.selector" .root | nindent 4 }}
{{- end }}
