//! The PromQL queries in `deploy/monitoring`: those of the alerts, and those of the dashboard as
//! Grafana sends them.

use serde_json::Value;

const RULES: &str = include_str!("../../../deploy/monitoring/rules.yaml");
const DASHBOARD: &str = include_str!("../../../deploy/monitoring/dashboard.json");

/// A query and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The alert's name, the recorded series, or the panel's title.
    pub of: String,
    /// PromQL with Grafana's variables.
    pub expr: String,
    /// The legend of a series in Grafana. Empty if it has none.
    pub legend: String,
}

/// Returns the alerts with all their fields.
pub fn alerts() -> Vec<Value> {
    rules_with("alert")
}

/// Returns the recording rules with all their fields.
pub fn records() -> Vec<Value> {
    rules_with("record")
}

/// Returns the rules that have this field.
fn rules_with(field: &str) -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(RULES).expect("rules.yaml");
    let groups = file["groups"].as_array().expect("groups").clone();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array());
    let rules = rules.flatten().filter(|rule| rule[field].is_string());
    rules.cloned().collect()
}

/// Returns the dashboard.
pub fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("dashboard.json")
}

/// Returns the queries of all alerts.
pub fn of_alerts() -> Vec<Query> {
    of_rules(&alerts(), "alert")
}

/// Returns the queries of all recording rules.
pub fn of_records() -> Vec<Query> {
    of_rules(&records(), "record")
}

fn of_rules(rules: &[Value], name: &str) -> Vec<Query> {
    let query = |rule: &Value| Query {
        of: text(&rule[name]),
        expr: text(&rule["expr"]),
        legend: String::new(),
    };
    rules.iter().map(query).collect()
}

/// Returns the queries of all panels.
pub fn of_dashboard() -> Vec<Query> {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push(Query {
                of: text(&panel["title"]),
                expr: text(&target["expr"]),
                legend: text(&target["legendFormat"]),
            });
        }
    }
    queries
}

/// Replaces Grafana's variables in a query, as Grafana does. All clusters and namespaces are selected.
pub fn rendered(expr: &str, window: &str) -> String {
    let expr = expr
        .replace("$__rate_interval", window)
        .replace("$__range", window)
        .replace("$cluster", ".*")
        .replace("$namespace", ".*")
        .replace("$job", "csr-warden");
    assert!(
        !expr.contains('$'),
        "a variable that is not rendered: {expr}"
    );
    expr
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
