{{- /* The inventory in the values: "true" or "". */ -}}
{{- define "csr-warden.has-inventory" -}}
{{- if or .Values.inventory.nodes .Values.inventory.patterns }}true{{ end }}
{{- end }}

{{- /* Files in the ConfigMap of the release: "true" or "". */ -}}
{{- define "csr-warden.has-files" -}}
{{- if or .Values.policy.spec (include "csr-warden.has-inventory" .) }}true{{ end }}
{{- end }}

{{- /* The name of an existing ConfigMap or Secret, or "". */ -}}
{{- define "csr-warden.existing" -}}
{{- .secretName | default .configMapName }}
{{- end }}

{{- /* Existing ConfigMaps and Secrets by the name of their volume, as YAML. */ -}}
{{- define "csr-warden.existing-files" -}}
{{- $files := dict "policy" .Values.policy.existing "inventory" .Values.inventory.existing "machines" .Values.machinesKubeconfig }}
{{- range $name, $file := $files }}
{{- if include "csr-warden.existing" $file }}
{{ $name }}: {{ toJson $file }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The policy is one that is built in: "true" or "". */ -}}
{{- define "csr-warden.is-built-in" -}}
{{- if not (or .Values.policy.spec (include "csr-warden.existing" .Values.policy.existing)) }}true{{ end }}
{{- end }}

{{- /* Kinds of Machines that may be read: those that are named, and those of a built-in policy. As YAML. */ -}}
{{- define "csr-warden.machines" -}}
{{- $wanted := .Values.machines }}
{{- if include "csr-warden.is-built-in" . }}
{{- $wanted = append $wanted .Values.policy.name }}
{{- end }}
{{- $kinds := dict
  "cluster-api" (dict "group" "cluster.x-k8s.io" "resource" "machines")
  "gardener" (dict "group" "machine.sapcloud.io" "resource" "machines")
  "metal3" (dict "group" "infrastructure.cluster.x-k8s.io" "resource" "metal3machines")
  "openshift" (dict "group" "machine.openshift.io" "resource" "machines")
}}
{{- range $name, $kind := $kinds }}
{{- if has $name $wanted }}
{{ $name }}: {{ toJson $kind }}
{{- end }}
{{- end }}
{{- end }}
