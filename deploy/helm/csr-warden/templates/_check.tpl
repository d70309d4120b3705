{{- /* Contradictions that a schema cannot express. */ -}}
{{- define "csr-warden.check" -}}
{{- include "csr-warden.check-image" . }}
{{- include "csr-warden.check-policy" . }}
{{- include "csr-warden.check-files" . }}
{{- include "csr-warden.check-flags" . }}
{{- include "csr-warden.check-labels" . }}
{{- include "csr-warden.check-account" . }}
{{- include "csr-warden.check-placement" . }}
{{- include "csr-warden.check-monitoring" . }}
{{- end }}

{{- define "csr-warden.check-image" -}}
{{- if kindIs "bool" .Values.enabled }}
{{- if not .Values.enabled }}
{{- fail "enabled is false, and only the `condition` of an umbrella chart reads it: name `csr-warden.enabled` there, or remove the value" }}
{{- end }}
{{- end }}
{{- if not .Values.image.repository }}
{{- fail "image.repository is empty: set it to the place that you pushed the image to, such as registry.example.org/csr-warden" }}
{{- end }}
{{- $repository := .Values.image.repository }}
{{- if contains "@" $repository }}
{{- fail (printf "image.repository is `%s`: put the part after `@` into image.digest" $repository) }}
{{- end }}
{{- if contains ":" (base $repository) }}
{{- fail (printf "image.repository is `%s`: put the part after the last `:` into image.tag" $repository) }}
{{- end }}
{{- if or (hasPrefix "/" $repository) (hasSuffix "/" $repository) }}
{{- fail (printf "image.repository is `%s`: remove the `/` at its begin or end" $repository) }}
{{- end }}
{{- $first := first (splitList "/" $repository) }}
{{- $hasRegistry := and (contains "/" $repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) }}
{{- $global := dig "imageRegistry" "" (.Values.global | default dict) }}
{{- range $name, $registry := dict "global.imageRegistry" $global "image.registry" .Values.image.registry }}
{{- if and $registry $hasRegistry }}
{{- fail (printf "%s is `%s`, and image.repository `%s` begins with a registry too: remove `%s/` from image.repository" $name $registry $repository $first) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "csr-warden.check-policy" -}}
{{- $builtIn := list "default" "strict" "inventory" "cluster-api" "openshift" "metal3" "gardener" "dns" "cloud-provider" }}
{{- $name := .Values.policy.name }}
{{- if include "csr-warden.existing" .Values.policy.existing }}
{{- if or .Values.policy.spec (ne $name "default") }}
{{- fail "policy.existing has the policy and its name: remove policy.spec and policy.name" }}
{{- end }}
{{- else if and .Values.policy.spec (has $name $builtIn) }}
{{- fail (printf "policy.spec is a policy of your own, but policy.name is that of the built-in policy `%s`: give it a name of its own, such as `mine`" $name) }}
{{- else if not (or .Values.policy.spec (has $name $builtIn)) }}
{{- fail (printf "expected policy.name to be a built-in policy (%s), found `%s`: name one of these, or set policy.spec" (join ", " $builtIn) $name) }}
{{- end }}
{{- end }}

{{- define "csr-warden.check-files" -}}
{{- $files := dict "policy.existing" .Values.policy.existing "inventory.existing" .Values.inventory.existing "machinesKubeconfig" .Values.machinesKubeconfig }}
{{- range $name, $file := $files }}
{{- if and $file.configMapName $file.secretName }}
{{- fail (printf "%s names a ConfigMap and a Secret: remove one" $name) }}
{{- end }}
{{- end }}
{{- if and (include "csr-warden.has-inventory" .) (include "csr-warden.existing" .Values.inventory.existing) }}
{{- fail "inventory.existing has the inventory: remove inventory.nodes and inventory.patterns" }}
{{- end }}
{{- end }}

{{- /* A flag that a value sets would be given twice, or the port, the volume or the right for it would be missing. */ -}}
{{- define "csr-warden.check-flags" -}}
{{- $values := dict
  "--bind-address" "metrics.port, or bootstrap.host and bootstrap.port"
  "--enforcement" "enforcement"
  "--inventory" "inventory, or inventory.existing"
  "--lease-name" "lease.name"
  "--machines-kubeconfig" "machinesKubeconfig"
  "--metrics-auth" "metrics.auth.enabled"
  "--policy" "policy, or policy.existing"
  "--tls-cert-file" "metrics.tls.secretName"
  "--tls-private-key-file" "metrics.tls.secretName"
}}
{{- range $flag, $value := $values }}
{{- range $.Values.extraArgs }}
{{- if or (eq . $flag) (hasPrefix (printf "%s=" $flag) .) }}
{{- fail (printf "extraArgs has %s, which the chart sets: use %s" $flag $value) }}
{{- end }}
{{- end }}
{{- $variable := printf "CSR_WARDEN_%s" (trimPrefix "--" $flag | replace "-" "_" | upper) }}
{{- range $.Values.extraEnv }}
{{- if eq (.name | default "") $variable }}
{{- fail (printf "extraEnv has %s, which the chart sets: use %s" $variable $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "csr-warden.check-labels" -}}
{{- $ours := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/part-of" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
{{- range $name, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels "service.labels" .Values.service.labels }}
{{- range $label, $_ := $labels }}
{{- if has $label $ours }}
{{- fail (printf "%s has `%s`, which the chart sets: remove it, or set nameOverride for another name" $name $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "csr-warden.check-account" -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) }}
{{- fail "serviceAccount.create is false: set serviceAccount.name. The account `default` would give every Pod of the namespace the right to approve" }}
{{- end }}
{{- end }}

{{- define "csr-warden.check-placement" -}}
{{- $node := dig "nodeAffinity" "requiredDuringSchedulingIgnoredDuringExecution" "" .Values.affinity }}
{{- if and $node (eq .Values.placement "ControlPlane") }}
{{- fail "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution would replace what keeps the Pod on the control plane: use nodeSelector to narrow it, or set placement to AnyNode if that is intended" }}
{{- end }}
{{- if and .Values.bootstrap.enabled (eq .Values.placement "AnyNode") (not .Values.apiServer.host) }}
{{- fail "with bootstrap.enabled and placement AnyNode there is no API server on the Pod's node: set apiServer.host to an address that nodes reach it at" }}
{{- end }}
{{- end }}

{{- define "csr-warden.check-monitoring" -}}
{{- $service := .Values.monitoring.serviceMonitor }}
{{- $pod := .Values.monitoring.podMonitor }}
{{- if and .Values.metrics.auth.enabled (not .Values.metrics.tls.secretName) }}
{{- fail "metrics.auth asks for tokens, which must not travel in plain text: set metrics.tls.secretName" }}
{{- end }}
{{- if and $service.enabled $pod.enabled }}
{{- fail "monitoring.serviceMonitor and monitoring.podMonitor are both enabled, and would count everything twice: disable one" }}
{{- end }}
{{- if and $service.enabled .Values.bootstrap.enabled }}
{{- fail "monitoring.serviceMonitor needs the Service, which bootstrap has not: use monitoring.podMonitor, with bootstrap.host set to an address that Prometheus reaches, such as 0.0.0.0" }}
{{- end }}
{{- if and $service.enabled (not .Values.service.enabled) }}
{{- fail "monitoring.serviceMonitor needs the Service: use monitoring.podMonitor" }}
{{- end }}
{{- $host := .Values.bootstrap.host }}
{{- if and $pod.enabled .Values.bootstrap.enabled (include "csr-warden.is-loopback" $host) }}
{{- fail (printf "monitoring.podMonitor reaches no Pod at %s: set bootstrap.host to an address that Prometheus reaches, such as 0.0.0.0" $host) }}
{{- end }}
{{- range $name, $monitor := dict "serviceMonitor" $service "podMonitor" $pod }}
{{- if and $monitor.enabled $monitor.namespace $.Values.metrics.tls.secretName (not $monitor.tlsConfig) }}
{{- fail (printf "monitoring.%s.namespace is another one than that of the Secret in metrics.tls: set monitoring.%s.tlsConfig" $name $name) }}
{{- end }}
{{- end }}
{{- end }}
