//! Lists with selectors and pages, and tables.

use anyhow::Result;
use serde_json::{Value, json};

use super::exchange::{NODES, Recorder};
use super::objects::node;

pub async fn observe(recorder: &mut Recorder<'_>) -> Result<()> {
    for name in ["conf-b", "conf-c", "conf-d", "conf-e"] {
        recorder.post("admin", NODES, &node(name)).await?;
    }
    let of_set = format!("{NODES}?labelSelector=set%3Dconf");
    for (name, query) in [
        ("list: labels", "labelSelector=set%3Dconf"),
        (
            "list: a label that is not there",
            "labelSelector=m,set%3Dconf",
        ),
        ("list: not that label", "labelSelector=!m,set%3Dconf"),
        ("list: a set of values", "labelSelector=set%20in%20(conf,x)"),
        ("list: a name", "fieldSelector=metadata.name%3Dconf-b"),
        (
            "list: not that name",
            "fieldSelector=metadata.name!%3Dconf-b",
        ),
        ("list: no such name", "fieldSelector=metadata.name%3Dconf-z"),
        (
            "list: schedulable",
            "fieldSelector=spec.unschedulable%3Dfalse",
        ),
    ] {
        let list = recorder.get("admin", &format!("{NODES}?{query}")).await?;
        recorder.note(
            name,
            json!([list.parts(&["/kind", "/apiVersion"]), list.names()]),
        )?;
    }
    for (name, query) in [
        (
            "list: a field that cannot be selected by",
            "fieldSelector=spec.podCIDR%3Dx",
        ),
        ("list: a selector that is none", "labelSelector=a%20b%20c"),
        ("list: a version that is none", "resourceVersion=x"),
        ("list: a token that is none", "limit=1&continue=x"),
    ] {
        let list = recorder.get("admin", &format!("{NODES}?{query}")).await?;
        recorder.note(name, list.parts(&["/status"]))?;
    }
    let unselected = recorder.get("admin", &format!("{NODES}?limit=2")).await?;
    recorder.note(
        "list: two, and how many remain",
        json!([
            unselected.names(),
            unselected.at("/metadata/remainingItemCount"),
            !unselected.str("/metadata/continue").is_empty(),
        ]),
    )?;
    // A change between two pages is not visible in the second.
    let first = recorder.get("admin", &format!("{of_set}&limit=2")).await?;
    recorder.delete("admin", &format!("{NODES}/conf-c")).await?;
    recorder.post("admin", NODES, &node("conf-cc")).await?;
    let token = first.str("/metadata/continue");
    let token = token
        .replace('+', "%2B")
        .replace('=', "%3D")
        .replace('/', "%2F");
    let second = recorder
        .get("admin", &format!("{of_set}&limit=9&continue={token}"))
        .await?;
    recorder.note(
        "list: the second page is as old as the first",
        json!([
            first.names(),
            first.at("/metadata/remainingItemCount"),
            second.names(),
            second.at("/metadata/continue"),
            first.version() == second.version(),
        ]),
    )?;
    let recent = recorder
        .get("admin", &format!("{of_set}&resourceVersion=0"))
        .await?;
    recorder.note(
        "list: anything recent",
        json!([recent.code, recent.names().len() > 3]),
    )?;
    let missing = recorder.get("admin", &format!("{NODES}/conf-none")).await?;
    recorder.note("get: not there", missing.refusal())?;
    let list = recorder.table(&of_set).await?;
    let columns = list.at("/columnDefinitions");
    let columns = columns.as_array().cloned().unwrap_or_default();
    let column = |one: &Value| json!([one["name"], one["type"], one["format"], one["priority"]]);
    let columns: Vec<Value> = columns.iter().map(column).collect();
    recorder.note(
        "table: the columns of nodes",
        json!([list.at("/kind"), columns]),
    )?;
    recorder.note(
        "table: the cells of nodes",
        json!(without_ages(&list.at("/rows"), 3)),
    )
}

/// Returns the cells of all rows without the ages.
pub fn without_ages(rows: &Value, age: usize) -> Vec<Value> {
    let rows = rows.as_array().cloned().unwrap_or_default();
    let cells = |row: &Value| {
        let mut cells = row["cells"].as_array().cloned().unwrap_or_default();
        cells[age] = cells[age].is_string().into();
        json!([cells, row["object"]["kind"]])
    };
    rows.iter().map(cells).collect()
}
