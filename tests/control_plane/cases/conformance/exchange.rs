//! Raw HTTP requests, and the recorded facts of their responses.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use http::Request;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// Clients by the short name of their user.
pub type Users = BTreeMap<&'static str, Client>;

pub const NODES: &str = "/api/v1/nodes";
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
pub const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";

/// The facts recorded from one API server.
pub struct Recorder<'a> {
    users: &'a Users,
    pub facts: BTreeMap<String, Value>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    pub text: String,
    pub body: Value,
    /// The texts of `Warning` headers.
    pub warnings: Vec<String>,
}

impl Answer {
    pub fn at(&self, path: &str) -> Value {
        self.body.pointer(path).cloned().unwrap_or(Value::Null)
    }

    pub fn str(&self, path: &str) -> String {
        self.at(path).as_str().unwrap_or_default().to_owned()
    }

    pub fn version(&self) -> String {
        self.str("/metadata/resourceVersion")
    }

    /// Returns the status code, and the stable fields of a rejection. Numbers and UIDs always
    /// differ.
    pub fn refusal(&self) -> Value {
        let message = self.str("/message");
        // The rejected value is printed in more than one format.
        let (message, _) = message
            .split_once("Invalid value: ")
            .unwrap_or((&message, ""));
        json!({
            "code": self.code,
            "reason": self.at("/reason"),
            "message": mask(message),
            "name": self.at("/details/name"),
            "group": self.at("/details/group"),
            "kind": self.at("/details/kind"),
            "fields": self.causes(),
        })
    }

    pub fn causes(&self) -> Vec<Value> {
        let causes = self.at("/details/causes");
        let causes = causes.as_array().cloned().unwrap_or_default();
        let shown = |cause: &Value| json!([cause["reason"], cause["field"]]);
        causes.iter().map(shown).collect()
    }

    /// Returns the status code and these fields of the body.
    pub fn parts(&self, paths: &[&str]) -> Value {
        let parts: Vec<Value> = paths.iter().map(|path| self.at(path)).collect();
        json!({"code": self.code, "parts": parts, "reason": self.at("/reason")})
    }

    /// Returns the names in a list.
    pub fn names(&self) -> Vec<String> {
        let items = self.at("/items");
        let items = items.as_array().cloned().unwrap_or_default();
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or("?").to_owned();
        items.iter().map(name).collect()
    }
}

/// Replaces numbers and UIDs, which always differ.
pub fn mask(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        if length == 0 {
            masked.push(first);
            (_, rest) = rest.split_at(first.len_utf8());
            continue;
        }
        let (word, after) = rest.split_at(length);
        let number = word.chars().all(|c| c.is_ascii_digit());
        let uid = word.len() == 36 && word.matches('-').count() == 4;
        masked.push_str(match (number, uid) {
            (true, _) => "#",
            (_, true) => "UID",
            (false, false) => word,
        });
        rest = after;
    }
    masked
}

impl<'a> Recorder<'a> {
    pub fn new(users: &'a Users) -> Self {
        Self {
            users,
            facts: BTreeMap::new(),
        }
    }

    /// Records a fact under a unique name.
    pub fn note(&mut self, name: &str, fact: Value) -> Result<()> {
        let before = self.facts.insert(name.to_owned(), fact);
        ensure!(before.is_none(), "two cases are called `{name}`");
        Ok(())
    }

    pub fn client(&self, user: &str) -> Result<Client> {
        let client = self.users.get(user);
        Ok(client.with_context(|| format!("no user {user}"))?.clone())
    }

    /// Sends a request with these headers.
    pub async fn send(
        &self,
        user: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self
            .client(user)?
            .send(request.body(Body::from(body))?)
            .await
            .with_context(|| format!("{method} {path}"))?;
        let code = answer.status().as_u16();
        let warnings = answer.headers().get_all("warning").iter();
        let warnings = warnings.map(|value| Ok(value.to_str()?.to_owned()));
        let warnings = warnings.collect::<Result<_>>()?;
        let bytes = answer.into_body().collect_bytes().await?;
        let text = String::from_utf8(bytes.to_vec())?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer {
            code,
            text,
            body,
            warnings,
        })
    }

    pub async fn get(&self, user: &str, path: &str) -> Result<Answer> {
        let json = [("accept", "application/json")];
        self.send(user, "GET", path, &json, Vec::new()).await
    }

    pub async fn table(&self, path: &str) -> Result<Answer> {
        let headers = [("accept", TABLE)];
        self.send("admin", "GET", path, &headers, Vec::new()).await
    }

    pub async fn post(&self, user: &str, path: &str, body: &Value) -> Result<Answer> {
        self.write(user, "POST", path, "application/json", body)
            .await
    }

    pub async fn put(&self, user: &str, path: &str, body: &Value) -> Result<Answer> {
        self.write(user, "PUT", path, "application/json", body)
            .await
    }

    pub async fn patch(&self, user: &str, path: &str, kind: &str, body: &Value) -> Result<Answer> {
        self.write(user, "PATCH", path, kind, body).await
    }

    pub async fn delete(&self, user: &str, path: &str) -> Result<Answer> {
        let json = [("accept", "application/json")];
        self.send(user, "DELETE", path, &json, Vec::new()).await
    }

    pub async fn write(
        &self,
        user: &str,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> Result<Answer> {
        let headers = [("accept", "application/json"), ("content-type", kind)];
        self.send(user, method, path, &headers, body.to_string().into_bytes())
            .await
    }
}
