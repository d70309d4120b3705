{{- /* Whether there are files of the administrator: "true" or "". */ -}}
{{- define "csr-warden.has-inventory" -}}
{{- if or .Values.inventory.nodes .Values.inventory.patterns }}true{{ end }}
{{- end }}

{{- define "csr-warden.has-files" -}}
{{- if or .Values.policy.spec (include "csr-warden.has-inventory" .) }}true{{ end }}
{{- end }}

{{- /* Which Machines may be read: those that are named, and those of a built-in policy. As YAML. */ -}}
{{- define "csr-warden.machines" -}}
{{- $wanted := .Values.machines }}
{{- if not .Values.policy.spec }}
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

{{- /* What a schema cannot say. */ -}}
{{- define "csr-warden.check" -}}
{{- $builtIn := list "default" "strict" "inventory" "cluster-api" "openshift" "metal3" "gardener" "dns" "cloud-provider" }}
{{- $name := .Values.policy.name }}
{{- if and .Values.policy.spec (has $name $builtIn) }}
{{- fail (printf "policy.spec is a policy of your own, but policy.name is that of the built-in policy `%s`: give it a name of its own, such as `mine`" $name) }}
{{- end }}
{{- if and (not .Values.policy.spec) (not (has $name $builtIn)) }}
{{- fail (printf "expected policy.name to be a built-in policy (%s), found `%s`: name one of these, or set policy.spec" (join ", " $builtIn) $name) }}
{{- end }}
{{- $node := dig "nodeAffinity" "requiredDuringSchedulingIgnoredDuringExecution" "" .Values.affinity }}
{{- if and $node (eq .Values.placement "ControlPlane") }}
{{- fail "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution would replace what keeps the Pod on the control plane: use nodeSelector to narrow it, or set placement to AnyNode if that is meant" }}
{{- end }}
{{- if and .Values.bootstrap.enabled (eq .Values.placement "AnyNode") (not .Values.apiServer.host) }}
{{- fail "with bootstrap.enabled and placement AnyNode there is no API server on the Pod's node: set apiServer.host to an address that nodes reach it at" }}
{{- end }}
{{- if and .Values.metrics.auth.enabled (not .Values.metrics.tls.secretName) }}
{{- fail "metrics.auth asks for tokens, which must not travel in plain text: set metrics.tls.secretName" }}
{{- end }}
{{- if and .Values.metrics.auth.enabled .Values.monitoring.podMonitor.enabled (not .Values.monitoring.podMonitor.authorization) }}
{{- fail "a PodMonitor cannot show the token of Prometheus itself: with metrics.auth set monitoring.podMonitor.authorization to the Secret of one" }}
{{- end }}
{{- end }}
