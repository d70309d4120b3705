{{- define "csr-warden.args" -}}
{{- $bootstrap := .Values.bootstrap -}}
- run
{{- with .Values.policy.existing }}
{{- if include "csr-warden.existing" . }}
- --policy=/etc/csr-warden-policy/{{ .key }}
{{- end }}
{{- end }}
{{- if .Values.policy.spec }}
- --policy=/etc/csr-warden/policy.yaml
{{- else if ne .Values.policy.name "default" }}
- --policy={{ .Values.policy.name }}
{{- end }}
{{- if include "csr-warden.has-inventory" . }}
- --inventory=/etc/csr-warden/inventory.yaml
{{- end }}
{{- with .Values.inventory.existing }}
{{- if include "csr-warden.existing" . }}
- --inventory=/etc/csr-warden-inventory/{{ .key }}
{{- end }}
{{- end }}
{{- with .Values.machinesKubeconfig }}
{{- if include "csr-warden.existing" . }}
- --machines-kubeconfig=/etc/csr-warden-machines/{{ .key }}
{{- end }}
{{- end }}
{{- with .Values.enforcement }}
- --enforcement={{ . }}
{{- end }}
- --lease-name={{ include "csr-warden.lease" . }}
{{- if $bootstrap.enabled }}
- --bind-address={{ if contains ":" $bootstrap.host }}[{{ $bootstrap.host }}]{{ else }}{{ $bootstrap.host }}{{ end }}:{{ $bootstrap.port | int }}
{{- else if ne (int .Values.metrics.port) 8080 }}
- --bind-address=[::]:{{ .Values.metrics.port | int }}
{{- end }}
{{- if .Values.metrics.tls.secretName }}
- --tls-cert-file=/etc/csr-warden-tls/tls.crt
- --tls-private-key-file=/etc/csr-warden-tls/tls.key
{{- end }}
{{- if .Values.metrics.auth.enabled }}
- --metrics-auth
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "csr-warden.probe" -}}
{{- $probe := dict "port" "http" }}
{{- /* An address that is only reached on the node itself must be named to the probes. */ -}}
{{- if and .Values.bootstrap.enabled (not (has .Values.bootstrap.host (list "0.0.0.0" "::"))) }}
{{- $_ := set $probe "host" .Values.bootstrap.host }}
{{- end }}
{{- /* A kubelet does not verify the certificate. */ -}}
{{- if .Values.metrics.tls.secretName }}
{{- $_ := set $probe "scheme" "HTTPS" }}
{{- end }}
{{- toYaml $probe }}
{{- end }}

{{- define "csr-warden.volume-mounts" -}}
{{- if .Values.metrics.tls.secretName }}
- {name: tls, mountPath: /etc/csr-warden-tls, readOnly: true}
{{- end }}
{{- if include "csr-warden.has-files" . }}
- {name: config, mountPath: /etc/csr-warden, readOnly: true}
{{- end }}
{{- range $name, $_ := include "csr-warden.existing-files" . | fromYaml }}
- {name: {{ $name }}, mountPath: /etc/csr-warden-{{ $name }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "csr-warden.volumes" -}}
{{- with .Values.metrics.tls.secretName }}
- name: tls
  secret:
    secretName: {{ . }}
    # 0440: only the group of the Pod reads the key.
    defaultMode: 288
{{- end }}
{{- if include "csr-warden.has-files" . }}
- name: config
  configMap: {name: {{ include "csr-warden.fullname" . }}}
{{- end }}
{{- range $name, $file := include "csr-warden.existing-files" . | fromYaml }}
- name: {{ $name }}
  {{- if $file.secretName }}
  secret: {secretName: {{ $file.secretName }}}
  {{- else }}
  configMap: {name: {{ $file.configMapName }}}
  {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
