{{- /*
Adds what is absent in `.Values` from files/values.yaml, the chart's defaults. `helm upgrade --reuse-values`
gives the values of an older chart, without the sections that are new. Every template begins with it.
*/ -}}
{{- define "csr-warden.values" -}}
{{- $defaults := .Files.Get "files/values.yaml" | fromYaml }}
{{- include "csr-warden.fill" (dict "values" .Values "defaults" $defaults) }}
{{- end }}

{{- define "csr-warden.fill" -}}
{{- range $name, $default := .defaults }}
{{- $value := index $.values $name }}
{{- /* An absent user is a user that the platform assigns, and absent resources are removed ones. */ -}}
{{- if eq $name "runAsUser" }}
{{- else if kindIs "invalid" $value }}
{{- $_ := set $.values $name (deepCopy $default) }}
{{- else if and (kindIs "map" $value) (kindIs "map" $default) (ne $name "resources") }}
{{- include "csr-warden.fill" (dict "values" $value "defaults" $default) }}
{{- end }}
{{- end }}
{{- end }}
