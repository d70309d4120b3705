//! The dashboard. Grafana can draw it.

use std::collections::BTreeSet;

use control_plane::monitoring_queries::dashboard;

/// Checks the parts of Grafana's model that a panel needs to be drawn.
#[test]
fn every_panel_can_be_drawn() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "csr-warden");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().flat_map(|v| v["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "cluster", "namespace", "job"]);
    for variable in variables {
        // Without a label `cluster`, `.*` still selects everything. One job at a time.
        let several = ["cluster", "namespace"].contains(&variable["name"].as_str().unwrap());
        assert_eq!(variable["includeAll"], several);
        assert_eq!(variable["multi"], several);
        assert_eq!(variable["allValue"] == ".*", several);
    }
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{title} covers another panel");
            }
        }
        let kind = panel["type"].as_str().unwrap();
        if kind == "row" {
            continue;
        }
        assert!(["stat", "timeseries", "state-timeline", "table"].contains(&kind));
        assert!(
            panel["description"].as_str().unwrap().ends_with('.'),
            "{title}"
        );
        let mut references = BTreeSet::new();
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(
                references.insert(target["refId"].as_str().unwrap()),
                "{title}"
            );
            // Either instant or over time.
            assert_ne!(target["instant"], target["range"], "{title}");
        }
        assert!(!references.is_empty(), "{title}");
    }
}
