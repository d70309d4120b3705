// Alerts, recording rules and dashboard of csr-warden for Prometheus, as a monitoring mixin
// (https://monitoring.mixins.dev). ../rules.yaml and ../dashboard.json are the only source of the
// expressions. This file replaces in them what `_config` sets:
//
//   local csrWarden = (import 'mixin/mixin.libsonnet') + { _config+:: { clusterLabel: 'site' } };

local rules = std.parseYaml(importstr '../rules.yaml');
local dashboard = import '../dashboard.json';

local isAlert(rule) = std.objectHas(rule, 'alert');
local firstAlert = std.filter(isAlert, rules.groups[0].rules)[0];

// Applies `f` to each text in `value`.
local mapTexts(f, value) =
  if std.isString(value) then f(value)
  else if std.isArray(value) then [mapTexts(f, one) for one in value]
  else if std.isObject(value) then { [key]: mapTexts(f, value[key]) for key in std.objectFields(value) }
  else value;

// Replaces the first text of each pair by the second.
local replaceAll(pairs, text) =
  std.foldl(function(done, pair) std.strReplace(done, pair[0], pair[1]), pairs, text);

{
  _config+:: {
    // The label that names a cluster.
    clusterLabel: 'cluster',
    // The job of csr-warden. CsrWardenAbsent has it as a label.
    csrWardenJob: 'csr-warden',
    // More matchers may follow. CsrWardenAbsent cannot tell two jobs apart: import the mixin for each of them.
    csrWardenSelector: 'job="%s"' % self.csrWardenJob,
    // Kubelets. CsrWardenAbsent expects csr-warden in each of their clusters.
    kubeletSelector: 'job="kubelet"',
    // For certificates that live for less than 70 days, a tenth of the lifetime.
    certExpirationWarningSeconds: 7 * 24 * 3600,
    certExpirationCriticalSeconds: 24 * 3600,
    // The page of runbooks, without the `#`.
    runbookBaseUrl: std.split(firstAlert.annotations.runbook_url, '#')[0],
  },

  local config = self._config,
  local inText(text) = replaceAll(
    [
      [token % 'cluster', token % config.clusterLabel]
      for token in ['(%s,', '(%s)', '$labels.%s ', '{{%s}}', ', %s)', '%s=~"$cluster"']
    ] + [
      ['job="csr-warden"', config.csrWardenSelector],
      ['job="kubelet"', config.kubeletSelector],
      [' < 604800', ' < %d' % config.certExpirationWarningSeconds],
      [' < 86400', ' < %d' % config.certExpirationCriticalSeconds],
    ],
    text
  ),
  local inRule(rule) =
    mapTexts(inText, rule)
    + (
      if !isAlert(rule) then {} else {
        annotations+: { runbook_url: config.runbookBaseUrl + '#' + std.asciiLower(rule.alert) },
        labels+: if std.objectHas(rule.labels, 'job') then { job: config.csrWardenJob } else {},
      }
    ),
  local groups(isKept) = std.filter(function(group) group.rules != [], [
    group { rules: [inRule(rule) for rule in group.rules if isKept(rule)] }
    for group in rules.groups
  ]),

  prometheusAlerts+:: { groups+: groups(isAlert) },
  prometheusRules+:: { groups+: groups(function(rule) !isAlert(rule)) },
  grafanaDashboards+:: { 'csr-warden.json': mapTexts(inText, dashboard) },
}
