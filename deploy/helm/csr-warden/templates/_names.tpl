{{- define "csr-warden.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 58 | trimSuffix "-" }}
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

{{- define "csr-warden.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{- define "csr-warden.service-account" -}}
{{- .Values.serviceAccount.name | default (include "csr-warden.fullname" .) }}
{{- end }}

{{- /* Two releases in one namespace must not share a Lease, or one of them would never lead. */ -}}
{{- define "csr-warden.lease" -}}
{{- .Values.lease.name | default (include "csr-warden.fullname" .) }}
{{- end }}

{{- /* Only its node reaches this host: "true" or "". */ -}}
{{- define "csr-warden.is-loopback" -}}
{{- if or (hasPrefix "127." .) (has . (list "::1" "localhost")) }}true{{ end }}
{{- end }}

{{- /* A release whose enforcement is a dry run writes nothing, so it has no right to write. */ -}}
{{- define "csr-warden.writes" -}}
{{- if ne .Values.enforcement "DryRun" }}yes{{ end }}
{{- end }}

{{- define "csr-warden.image" -}}
{{- $image := .Values.image }}
{{- $registry := dig "imageRegistry" "" (.Values.global | default dict) | default $image.registry }}
{{- $name := $image.repository }}
{{- if $registry }}
{{- $name = printf "%s/%s" (trimSuffix "/" $registry) $name }}
{{- end }}
{{- with $image.digest }}
{{- printf "%s@%s" $name . }}
{{- else }}
{{- printf "%s:%s" $name ($image.tag | default $.Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- /* Names of Secrets: those of the umbrella chart, then those of this one. */ -}}
{{- define "csr-warden.pull-secrets" -}}
{{- range dig "imagePullSecrets" list (.Values.global | default dict) }}
- name: {{ kindIs "map" . | ternary . (dict "name" .) | dig "name" "" }}
{{- end }}
{{- range .Values.imagePullSecrets }}
- name: {{ .name }}
{{- end }}
{{- end }}
