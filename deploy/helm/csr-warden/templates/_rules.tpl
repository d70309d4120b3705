{{- /* Rules of Roles, or of one ClusterRole with `rbac.clusterWide`. */ -}}
{{- define "csr-warden.api-server-rules" -}}
- apiGroups: [""]
  resources: [services]
  resourceNames: [kubernetes]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- if include "csr-warden.writes" . }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
{{- end }}

{{- define "csr-warden.cluster-info-rules" -}}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [cluster-info]
  verbs: [list, watch]
{{- end }}
