{{- /* The labels that select the Pods of this release, and no others. */ -}}
{{- define "csr-warden.selector" -}}
app.kubernetes.io/name: {{ include "csr-warden.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The labels of every object and Pod. */ -}}
{{- define "csr-warden.labels" -}}
{{ include "csr-warden.selector" . }}
app.kubernetes.io/part-of: csr-warden
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Those of a Pod. */ -}}
{{- define "csr-warden.pod-labels" -}}
{{- merge (deepCopy .Values.podLabels) (include "csr-warden.labels" . | fromYaml) | toYaml }}
{{- end }}

{{- /*
The metadata of an object. Of `root`, the context; `suffix`, after the name of the release; `namespace`, or
`cluster` for objects without one; `labels` and `annotations`, of this object alone.
*/ -}}
{{- define "csr-warden.metadata" -}}
name: {{ .name | default (printf "%s%s" (include "csr-warden.fullname" .root) (.suffix | default "")) }}
{{- if not .cluster }}
namespace: {{ .namespace | default (include "csr-warden.namespace" .root) }}
{{- end }}
labels:
  {{- $labels := include "csr-warden.labels" .root | fromYaml }}
  {{- if .labels }}
  {{- toYaml (merge (deepCopy .labels) $labels) | nindent 2 }}
  {{- else }}
  {{- include "csr-warden.labels" .root | nindent 2 }}
  {{- end }}
{{- with merge (deepCopy (.annotations | default dict)) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Binds the role of the same name to the ServiceAccount. Of `root`, `suffix`, and `kind` of the role. */ -}}
{{- define "csr-warden.binding" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ include "csr-warden.fullname" .root }}{{ .suffix }}
subjects:
  - kind: ServiceAccount
    name: {{ include "csr-warden.service-account" .root }}
    namespace: {{ include "csr-warden.namespace" .root }}
{{- end }}
