//! The site: every page is a chapter, and the pictures are those that `docs/pictures/draw` draws.
//! `UPDATE_DOCS=1` draws them again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::readme::pages_below;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

#[test]
fn every_page_is_a_chapter() {
    let summary = std::fs::read_to_string(docs().join("SUMMARY.md")).unwrap();
    let links = summary
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let chapters: Vec<String> = links.map(str::to_owned).collect();
    let unique: BTreeSet<String> = chapters.iter().cloned().collect();
    assert_eq!(unique.len(), chapters.len(), "a page is there twice");
    let mut pages = Vec::new();
    pages_below(&docs(), &mut pages);
    let mut pages: BTreeSet<String> = pages
        .iter()
        .map(|page| page.strip_prefix(docs()).unwrap().display().to_string())
        .collect();
    pages.remove("SUMMARY.md");
    assert_eq!(unique, pages, "docs/SUMMARY.md and the pages differ");
}

#[test]
fn the_pictures_are_up_to_date() {
    let pictures = docs().join("pictures");
    for name in ["demo", "request", "latency", "memory"] {
        let drawn = Command::new(pictures.join("draw"))
            .arg(name)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&drawn.stderr);
        assert!(drawn.status.success(), "{name}: {stderr}");
        let file = pictures.join(format!("{name}.svg"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&file, &drawn.stdout).unwrap();
        }
        assert_eq!(
            std::fs::read(&file).unwrap(),
            drawn.stdout,
            "docs/pictures/{name}.svg is stale: run `just pictures`"
        );
    }
}

/// kind takes the configuration of its tutorial, whose patch is one of kubelets.
#[test]
fn the_cluster_of_kind_lets_kubelets_ask() {
    let page = std::fs::read_to_string(docs().join("tutorials/kind.md")).unwrap();
    let block = page.split("```yaml\n").nth(1).unwrap();
    let cluster: Value = serde_saphyr::from_str(block.split("```").next().unwrap()).unwrap();
    assert_eq!(cluster["apiVersion"], "kind.x-k8s.io/v1alpha4");
    let patch = cluster["kubeadmConfigPatches"][0].as_str().unwrap();
    let patch: Value = serde_saphyr::from_str(patch).unwrap();
    assert_eq!(patch["kind"], "KubeletConfiguration");
    assert_eq!(patch["serverTLSBootstrap"], true);
}
