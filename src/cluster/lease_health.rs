//! Readiness of a candidate for the Lease. A replica that can never lead is not ready; a standby is.
//!
//! A missing permission or a missing Lease is reported at once, since only an administrator can fix it. Every
//! other failure is reported once it has lasted for as long as a Lease is valid: an API server that restarts
//! makes no replica unready.

use tokio::time::Instant;

use super::error::ApiError;
use super::lease::DURATION;
use super::required_rule::RequiredRule;

/// A request for the Lease that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeaseError {
    /// The refused verb.
    pub(super) verb: &'static str,
    pub(super) error: ApiError,
}

impl LeaseError {
    /// True if the API server has refused an update because the Lease has changed, as in every election.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.error, ApiError::Status { code: 409, .. })
    }

    /// True if the request fails until an administrator changes something.
    fn is_permanent(&self) -> bool {
        match &self.error {
            ApiError::Forbidden(_) | ApiError::NotServed => true,
            ApiError::Status { code, .. } => *code == 404,
            ApiError::Unauthorized
            | ApiError::Answer(_)
            | ApiError::UnknownIssuer
            | ApiError::NotValidNow(_)
            | ApiError::Timeout
            | ApiError::Deadline(_)
            | ApiError::Unreachable(_) => false,
        }
    }
}

/// Failures of one candidate.
#[derive(Debug)]
pub(super) struct LeaseHealth {
    namespace: String,
    name: String,
    /// The last failure, and the time of the first one in a row.
    failing: Option<(LeaseError, Instant)>,
    /// The failed check of a standby's right to update.
    no_update: Option<LeaseError>,
}

impl LeaseHealth {
    pub(super) fn new(namespace: &str, name: &str) -> LeaseHealth {
        LeaseHealth {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            failing: None,
            no_update: None,
        }
    }

    /// Records the result of reading, acquiring or renewing the Lease.
    pub(super) fn record(&mut self, result: Result<(), &LeaseError>, now: Instant) {
        self.failing = match result {
            Ok(()) => None,
            Err(error) if error.is_conflict() => None,
            Err(error) => {
                let since = self.failing.take().map_or(now, |(_, since)| since);
                Some((error.clone(), since))
            }
        };
    }

    /// Records the check of a standby's right to update. Only a missing permission counts.
    pub(super) fn record_update_check(&mut self, result: Result<(), LeaseError>) {
        self.no_update = result.err().filter(LeaseError::is_permanent);
    }

    /// True if the last check of a standby's right to update has failed.
    pub(super) fn has_no_update(&self) -> bool {
        self.no_update.is_some()
    }

    /// The reason for which the replica is not ready, in one line.
    pub(super) fn unready(&self, now: Instant) -> Option<String> {
        let failing = self.failing.as_ref().filter(|(error, since)| {
            error.is_permanent() || now.saturating_duration_since(*since) >= DURATION
        });
        let failing = failing.map(|(error, _)| error).or(self.no_update.as_ref());
        failing.map(|error| self.describe(error))
    }

    /// Describes a failure, with the remedy where there is one.
    pub(super) fn describe(&self, failure: &LeaseError) -> String {
        let LeaseHealth {
            namespace, name, ..
        } = self;
        let LeaseError { verb, error } = failure;
        let what = format!("cannot {verb} the Lease {namespace}/{name}: ");
        match error {
            ApiError::Forbidden(why) if *verb == "create" => format!(
                "{what}it does not exist, and csr-warden may not create it: apply deploy/base/lease.yaml, or \
                 upgrade the Helm release ({why})"
            ),
            ApiError::Forbidden(_) => {
                let verbs = &["get", "update"];
                let group = "coordination.k8s.io";
                let rule = RequiredRule::in_role(namespace, group, "leases", Some(name), verbs);
                format!("{what}{error}; {rule}")
            }
            ApiError::Status { code: 404, .. } => format!(
                "{what}{error}; create the namespace, or name another one (--lease-namespace)"
            ),
            ApiError::Unauthorized
            | ApiError::NotServed
            | ApiError::Status { .. }
            | ApiError::Answer(_)
            | ApiError::UnknownIssuer
            | ApiError::NotValidNow(_)
            | ApiError::Timeout
            | ApiError::Deadline(_)
            | ApiError::Unreachable(_) => format!("{what}{error}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn failure(verb: &'static str, error: ApiError) -> LeaseError {
        LeaseError { verb, error }
    }

    fn forbidden(verb: &'static str) -> LeaseError {
        failure(verb, ApiError::Forbidden("no".to_owned()))
    }

    #[test]
    fn a_missing_permission_is_reported_at_once_with_its_rule() {
        let (mut health, now) = (LeaseHealth::new("kube-system", "other"), Instant::now());
        assert_eq!(health.unready(now), None);
        for verb in ["get", "update"] {
            health.record(Err(&forbidden(verb)), now);
            let expected = format!(
                "cannot {verb} the Lease kube-system/other: a permission is missing: no; a Role in namespace \
                 kube-system needs the rule {{apiGroups: [coordination.k8s.io], resources: [leases], \
                 resourceNames: [other], verbs: [get, update]}}"
            );
            assert_eq!(health.unready(now), Some(expected));
        }
        health.record(Err(&forbidden("create")), now);
        let why = health.unready(now).unwrap();
        assert!(why.contains("apply deploy/base/lease.yaml"), "{why}");
        let missing = ApiError::Status {
            code: 404,
            message: "namespaces \"x\" not found".to_owned(),
        };
        health.record(Err(&failure("create", missing)), now);
        let why = health.unready(now).unwrap();
        assert!(why.contains("--lease-namespace"), "{why}");
        health.record(Ok(()), now);
        assert_eq!(health.unready(now), None);
    }

    #[test]
    fn an_unreachable_api_server_counts_after_the_time_that_a_lease_lives() {
        let (mut health, begun) = (LeaseHealth::new("a", "b"), Instant::now());
        let timeout = failure("get", ApiError::Timeout);
        let mut now = begun;
        while now < begun + DURATION {
            health.record(Err(&timeout), now);
            assert_eq!(health.unready(now), None);
            now += Duration::from_secs(1);
        }
        health.record(Err(&timeout), now);
        assert!(health.unready(now).is_some());
        // A success in between begins the time again, and so does a conflict, which is an answer.
        let conflict = ApiError::Status {
            code: 409,
            message: String::new(),
        };
        health.record(Err(&failure("update", conflict)), now);
        assert_eq!(health.unready(now), None);
        health.record(Err(&timeout), now);
        assert_eq!(health.unready(now), None);
    }

    #[test]
    fn a_standby_that_may_not_update_is_not_ready() {
        let (mut health, now) = (LeaseHealth::new("a", "b"), Instant::now());
        health.record(Ok(()), now);
        health.record_update_check(Err(forbidden("update")));
        let why = health.unready(now).unwrap();
        assert!(why.starts_with("cannot update the Lease a/b"), "{why}");
        // A webhook without dry run, for example, says nothing about permissions.
        let refused = ApiError::Status {
            code: 400,
            message: String::new(),
        };
        health.record_update_check(Err(failure("update", refused)));
        assert_eq!(health.unready(now), None);
        health.record_update_check(Err(forbidden("update")));
        health.record_update_check(Ok(()));
        assert_eq!(health.unready(now), None);
    }
}
