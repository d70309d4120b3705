//! A Prometheus with the shipped rules, which scrapes csr-warden and other jobs every half second.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::daemon::http_get;
use super::process::{Launch, Process};
use super::{POLL_INTERVAL, ports};

const RULES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../deploy/monitoring/rules.yaml"
);

/// A running Prometheus. It stops when dropped.
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it. `scrape` is the configuration of csr-warden's job besides name and targets.
    /// `others` are the other jobs.
    pub fn start(
        dir: &Path,
        target: SocketAddr,
        scrape: &Value,
        others: Vec<Value>,
    ) -> Result<Self> {
        Self::with_rules(dir, Path::new(RULES), target, scrape, others)
    }

    /// Starts it with other rules than those that are shipped.
    pub fn with_rules(
        dir: &Path,
        rules: &Path,
        target: SocketAddr,
        scrape: &Value,
        others: Vec<Value>,
    ) -> Result<Self> {
        let [port] = ports::free::<1>()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut job = json!({
            "job_name": "csr-warden",
            "static_configs": [
                {"targets": [target.to_string()], "labels": {"namespace": "kube-system"}},
            ],
        });
        if let (Some(job), Some(more)) = (job.as_object_mut(), scrape.as_object()) {
            job.extend(more.clone());
        }
        let mut jobs = others;
        jobs.push(job);
        let config = json!({
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [rules],
            "scrape_configs": jobs,
        });
        // JSON is YAML.
        let file = dir.join("prometheus.yaml");
        std::fs::write(&file, config.to_string())?;
        let launch = Launch::new("prometheus", Path::new("prometheus"), dir).args([
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", dir.join("prometheus").display()),
            format!("--web.listen-address={address}"),
            "--log.level=warn".into(),
        ]);
        Ok(Self {
            process: Process::spawn(launch)?,
            address,
        })
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the end of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer = http_get(self.address, path).await?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        let body: Value = serde_json::from_str(&answer.body)?;
        Ok(at(&body, "/data").clone())
    }

    /// Returns the current values of a query, without NaN.
    pub async fn query(&self, expr: &str) -> Result<Vec<(Value, f64)>> {
        let data = self
            .get(&format!("/api/v1/query?query={}", encoded(expr)))
            .await?;
        let mut values = Vec::new();
        for series in at(&data, "/result").as_array().context("result")? {
            let value: f64 = at(series, "/value/1").as_str().context("value")?.parse()?;
            if !value.is_nan() {
                values.push((at(series, "/metric").clone(), value));
            }
        }
        Ok(values)
    }

    /// Waits until a query has a value.
    pub async fn wait_value(&mut self, expr: &str, deadline: Duration) -> Result<f64> {
        let begun = Instant::now();
        loop {
            self.process.must_run()?;
            let values = self.query(expr).await;
            if let Ok([(_, value), ..]) = values.as_deref() {
                return Ok(*value);
            }
            if begun.elapsed() > deadline {
                bail!("no value after {deadline:?}: {expr}: {values:?}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the firing alerts with their annotations.
    pub async fn firing(&self) -> Result<Vec<Value>> {
        let data = self.get("/api/v1/alerts").await?;
        let alerts = at(&data, "/alerts").as_array().context("alerts")?.iter();
        Ok(alerts
            .filter(|alert| at(alert, "/state") == "firing")
            .cloned()
            .collect())
    }

    /// Returns the rules whose evaluation fails, each with the error.
    pub async fn broken_rules(&self) -> Result<Vec<String>> {
        let data = self.get("/api/v1/rules").await?;
        let mut broken = Vec::new();
        for group in at(&data, "/groups").as_array().context("groups")? {
            for rule in at(group, "/rules").as_array().context("rules")? {
                if at(rule, "/health") != "ok" {
                    broken.push(format!("{}: {}", at(rule, "/name"), at(rule, "/lastError")));
                }
            }
        }
        Ok(broken)
    }

    /// Returns health and last error of the target.
    pub async fn target(&self) -> Result<(String, String)> {
        let data = self.get("/api/v1/targets").await?;
        let target = at(&data, "/activeTargets/0");
        let text = |key: &str| {
            target
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Ok((text("health"), text("lastError")))
    }
}

/// Writes the shipped rules to a file, with alerts that fire after a second instead of minutes.
pub fn impatient_rules(file: &Path) -> Result<()> {
    let rules = std::fs::read_to_string(RULES)?;
    let lines = rules.lines().map(|line| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s\n"),
        _ => format!("{line}\n"),
    });
    std::fs::write(file, lines.collect::<String>())?;
    Ok(())
}

/// Returns the value at a JSON pointer, null if it is missing.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// Percent-encodes all but unreserved characters (RFC 3986, 2.1).
fn encoded(text: &str) -> String {
    let mut url = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}
