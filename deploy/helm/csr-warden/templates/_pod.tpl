{{- /* Parts of the Pod of the Deployment and of that of `helm test`. */ -}}

{{- /* OpenShift assigns a user from the range of the namespace, and rejects another one. */ -}}
{{- define "csr-warden.user" -}}
{{- if not (.Capabilities.APIVersions.Has "security.openshift.io/v1") }}
{{- with .Values.runAsUser }}{{ int64 . }}{{ end }}
{{- end }}
{{- end }}

{{- define "csr-warden.pod-security" -}}
runAsNonRoot: true
{{- with include "csr-warden.user" . }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
{{- if $.Values.metrics.tls.secretName }}
fsGroup: {{ . }}
{{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "csr-warden.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "csr-warden.identity" -}}
serviceAccountName: {{ include "csr-warden.service-account" . }}
automountServiceAccountToken: true
# Variables of Services would begin with CSR_WARDEN_, as those of csr-warden do.
enableServiceLinks: false
{{- with include "csr-warden.pull-secrets" . | trim }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "csr-warden.placement" -}}
{{- $affinity := deepCopy .Values.affinity }}
{{- if eq .Values.placement "ControlPlane" }}
# A kubelet may have tokens of the ServiceAccounts of its Pods. A stolen credential of this Pod's node can
# therefore approve anything, so it must be a node that is trusted anyway.
{{- $term := dict "key" "node-role.kubernetes.io/control-plane" "operator" "Exists" }}
{{- $terms := list (dict "matchExpressions" (list $term)) }}
{{- $required := dict "nodeSelectorTerms" $terms }}
{{- $affinity = merge $affinity (dict "nodeAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" $required)) }}
{{- end }}
{{- with $affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
nodeSelector:
  {{- merge (deepCopy .Values.nodeSelector) (dict "kubernetes.io/os" "linux") | toYaml | nindent 2 }}
# The taints of control planes: of kubeadm, of OpenShift, and of RKE2 and k3s.
tolerations:
  - {key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}
  - {key: node-role.kubernetes.io/master, operator: Exists, effect: NoSchedule}
  - {key: node-role.kubernetes.io/etcd, operator: Exists, effect: NoExecute}
  - {key: CriticalAddonsOnly, operator: Exists}
  {{- if .Values.bootstrap.enabled }}
  - {key: node.kubernetes.io/not-ready, operator: Exists}
  - {key: node.kubernetes.io/network-unavailable, operator: Exists, effect: NoSchedule}
  - {key: node.cloudprovider.kubernetes.io/uninitialized, operator: Exists, effect: NoSchedule}
  {{- end }}
  {{- with .Values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "csr-warden.network" -}}
{{- if .Values.bootstrap.enabled }}
hostNetwork: true
{{- end }}
dnsPolicy: {{ .Values.dnsPolicy }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The address of the API server, if it is not the Service `kubernetes`. */ -}}
{{- define "csr-warden.api-server" -}}
{{- if .Values.apiServer.host }}
- {name: KUBERNETES_SERVICE_HOST, value: {{ .Values.apiServer.host | quote }}}
{{- else if .Values.bootstrap.enabled }}
- name: KUBERNETES_SERVICE_HOST
  valueFrom: {fieldRef: {fieldPath: status.hostIP}}
{{- end }}
{{- if or .Values.apiServer.host .Values.bootstrap.enabled }}
- {name: KUBERNETES_SERVICE_PORT, value: {{ .Values.apiServer.port | int | quote }}}
{{- end }}
{{- end }}
