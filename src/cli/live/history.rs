//! History of a request: its conditions, the programs that wrote them, and the issued certificate.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::cluster::certificate_fields::{not_after, sans};
use crate::telemetry::printable::printable;

/// A decision on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Decided {
    /// `Approved`, `Denied` or `Failed`.
    pub(in crate::cli) condition: String,
    /// The condition's reason.
    pub(in crate::cli) reason: String,
    /// The condition's message.
    pub(in crate::cli) message: String,
    /// The program that wrote it, by the object's `managedFields`. Kubernetes does not say who ran
    /// it: the API server's audit log does.
    pub(in crate::cli) program: Option<String>,
    /// When.
    #[schemars(with = "Option<String>")]
    pub(in crate::cli) at: Option<Timestamp>,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Issued {
    /// When it ends.
    #[schemars(with = "String")]
    pub(in crate::cli) not_after: Timestamp,
    /// Names and addresses in it.
    pub(in crate::cli) sans: Vec<String>,
}

/// Conditions of a request, and its certificate.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct History {
    /// Conditions, the decisive one first.
    pub(in crate::cli) decided: Vec<Decided>,
    pub(in crate::cli) issued: Option<Issued>,
}

impl History {
    /// Reads the history from the API object.
    pub(super) fn of(object: &Value) -> History {
        let conditions = object.pointer("/status/conditions");
        let mut decided: Vec<Decided> = conditions
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|condition| decided(condition, object))
            .collect();
        // Same precedence as in the judge: `Denied` and `Failed` count before `Approved`.
        decided.sort_by_key(|one| match one.condition.as_str() {
            "Denied" => 0,
            "Failed" => 1,
            _ => 2,
        });
        History {
            decided,
            issued: issued(object),
        }
    }

    /// First condition of this type.
    pub(in crate::cli) fn condition(&self, of_type: &str) -> Option<&Decided> {
        self.decided.iter().find(|one| one.condition == of_type)
    }
}

fn decided(condition: &Value, object: &Value) -> Decided {
    let text = |field: &str| {
        let text = condition.get(field).and_then(Value::as_str);
        printable(text.unwrap_or_default()).into_owned()
    };
    let condition_type = text("type");
    // The signer writes `Failed` through `status`; approvers write the others through `approval`.
    let subresource = if condition_type == "Failed" {
        "status"
    } else {
        "approval"
    };
    let written = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").is_some_and(|of| of == subresource))
        .filter_map(|entry| entry.get("manager")?.as_str())
        .next_back();
    let time = |field: &str| condition.get(field)?.as_str()?.parse().ok();
    Decided {
        reason: text("reason"),
        message: text("message"),
        condition: condition_type,
        program: written.map(|manager| printable(manager).into_owned()),
        at: time("lastTransitionTime").or_else(|| time("lastUpdateTime")),
    }
}

fn issued(object: &Value) -> Option<Issued> {
    let encoded = object.pointer("/status/certificate")?.clone();
    let pem: ByteString = serde_json::from_value(encoded).ok()?;
    let certificate = CertificateDer::from_pem_slice(&pem.0).ok()?;
    Issued::of(&certificate)
}

impl Issued {
    /// Reads the expiry and SANs of a certificate; `None` if it cannot be parsed.
    pub(in crate::cli) fn of(certificate: &CertificateDer<'_>) -> Option<Issued> {
        let sans = sans(certificate).ok()?;
        Some(Issued {
            not_after: not_after(certificate)?,
            sans: sans.iter().map(ToString::to_string).collect(),
        })
    }
}
