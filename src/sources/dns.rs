//! DNS lookups with a deadline, to the policy's servers, with the time for which each answer is
//! valid.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use thiserror::Error;

use judge::csr::names::San;
use judge::evidence::Answer;
use judge::policy::DnsPolicy;

/// Minimum and maximum validity of an answer, regardless of its TTL.
const LIFETIME_LIMITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Validity of an answer without records.
const NO_RECORDS_LIFETIME: Duration = Duration::from_secs(15);
/// Validity of a failed lookup.
const FAILURE_LIFETIME: Duration = Duration::from_secs(5);
/// Maximum number of records that are read from one answer.
const MAX_RECORDS: usize = 64;

/// A resolver that cannot be configured.
#[derive(Clone, Debug, Error)]
pub enum DnsError {
    /// The policy has no servers, and the system's cannot be read.
    #[error("cannot read the system's DNS servers: {0}")]
    SystemServers(NetError),
    /// The resolver rejects its configuration.
    #[error("{0}")]
    Resolver(NetError),
}

/// A resolver with the policy's settings.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
}

impl Dns {
    /// A resolver for this policy. Fails if the system's configuration is needed and cannot be
    /// read.
    pub fn new(policy: &DnsPolicy) -> Result<Dns, DnsError> {
        let timeout = Duration::try_from(policy.timeout).unwrap_or(LIFETIME_LIMITS.0);
        let mut builder = if policy.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(DnsError::SystemServers)?
        } else {
            let servers = policy.servers.iter().map(|server| {
                let at = |mut connection: ConnectionConfig| {
                    connection.port = server.0.port();
                    connection
                };
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                NameServerConfig::new(server.0.ip(), true, connections.map(at).into())
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        configure(builder.options_mut(), timeout);
        let resolver = builder.build().map_err(DnsError::Resolver)?;
        Ok(Dns { resolver })
    }

    /// Looks up all addresses of a name, and returns for how long the answer is valid.
    ///
    /// A and AAAA must both succeed: the half that failed may contain the address in question.
    pub async fn addresses(&self, name: &str) -> (Answer, Duration) {
        let absolute = format!("{name}.");
        let (v4, v6) = tokio::join!(
            self.resolver.ipv4_lookup(absolute.as_str()),
            self.resolver.ipv6_lookup(absolute.as_str())
        );
        let mut sans = BTreeSet::new();
        // The resolver uses the standard library's `Instant`.
        let mut until = Instant::now() + LIFETIME_LIMITS.1;
        for found in [v4, v6] {
            match found {
                Ok(found) => {
                    until = until.min(found.valid_until());
                    let ips = found
                        .answers()
                        .iter()
                        .filter_map(|record| record.data.ip_addr());
                    sans.extend(ips.take(MAX_RECORDS).map(|ip| San::Ip(ip.to_canonical())));
                }
                Err(error) if error.is_no_records_found() => {}
                Err(error) => return failed(&error, name),
            }
        }
        to_answer(sans, until, name)
    }

    /// Looks up all names of an address, and returns for how long the answer is valid.
    pub async fn names(&self, ip: IpAddr) -> (Answer, Duration) {
        let what = ip.to_string();
        match self.resolver.reverse_lookup(ip).await {
            Ok(found) => {
                let names = found
                    .answers()
                    .iter()
                    .take(MAX_RECORDS)
                    .filter_map(|record| {
                        let RData::PTR(name) = &record.data else {
                            return None;
                        };
                        San::from_dns_text(&name.to_string())
                    });
                to_answer(names.collect(), found.valid_until(), &what)
            }
            Err(error) => failed(&error, &what),
        }
    }
}

fn configure(options: &mut ResolverOpts, timeout: Duration) {
    options.timeout = timeout;
    options.attempts = 1;
    options.use_hosts_file = ResolveHosts::Never;
    // The caller caches answers.
    options.cache_size = 0;
}

fn to_answer(sans: BTreeSet<San>, until: Instant, what: &str) -> (Answer, Duration) {
    if sans.is_empty() {
        return no_records(what);
    }
    let holds = until.saturating_duration_since(Instant::now());
    (
        Answer::Sans(sans),
        holds.clamp(LIFETIME_LIMITS.0, LIFETIME_LIMITS.1),
    )
}

fn no_records(what: &str) -> (Answer, Duration) {
    (
        Answer::Empty(format!("DNS has nothing for {what}")),
        NO_RECORDS_LIFETIME,
    )
}

fn failed(error: &NetError, what: &str) -> (Answer, Duration) {
    if error.is_no_records_found() {
        return no_records(what);
    }
    (
        Answer::Failed(format!("the DNS query for {what} failed: {error}")),
        FAILURE_LIFETIME,
    )
}
