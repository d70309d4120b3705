{{- define "csr-warden.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "csr-warden.fullname" -}}
{{- $name := include "csr-warden.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "csr-warden.selector" -}}
app.kubernetes.io/name: {{ include "csr-warden.name" . }}
{{- end }}

{{- define "csr-warden.labels" -}}
{{ include "csr-warden.selector" . }}
app.kubernetes.io/part-of: csr-warden
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "csr-warden.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest }}
{{- printf "%s@%s" $.Values.image.repository . }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository $tag }}
{{- end }}
{{- end }}

{{- /* A binding of a role, which has the binding's name, to the ServiceAccount. */ -}}
{{- define "csr-warden.subject" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "csr-warden.fullname" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}
