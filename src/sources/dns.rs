//! DNS, asked directly: with deadlines, with servers of the policy's choice, and with the time for
//! which each answer holds.

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

/// The least and the most time for which an answer is taken to hold, whatever its TTL says.
const LIFETIME_LIMITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// How long it is taken to hold that there is nothing.
const NO_RECORDS_LIFETIME: Duration = Duration::from_secs(15);
/// How long a server that could not be asked is left alone.
const FAILURE_LIFETIME: Duration = Duration::from_secs(5);
/// Records of one answer that are looked at.
const MAX_RECORDS: usize = 64;

/// A resolver that cannot be set up.
#[derive(Clone, Debug, Error)]
pub enum DnsError {
    /// The policy names no servers, and the system's cannot be read.
    #[error("cannot read the system's DNS servers: {0}")]
    SystemServers(NetError),
    /// The resolver refuses its configuration.
    #[error("{0}")]
    Resolver(NetError),
}

/// A resolver as the policy wants it.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
}

impl Dns {
    /// A resolver; the error says what is wrong with the system's configuration.
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

    /// All addresses of a name, and how long the answer holds. Half of an answer is none: of a node
    /// with two families the other half may be what is asked about.
    pub async fn addresses(&self, name: &str) -> (Answer, Duration) {
        let absolute = format!("{name}.");
        let (v4, v6) = tokio::join!(
            self.resolver.ipv4_lookup(absolute.as_str()),
            self.resolver.ipv6_lookup(absolute.as_str())
        );
        let mut sans = BTreeSet::new();
        // The resolver counts by the system's own instants.
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

    /// All names of an address, and how long the answer holds.
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
    // Answers are kept where they are used.
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
        Answer::Nothing(format!("DNS has nothing for {what}")),
        NO_RECORDS_LIFETIME,
    )
}

fn failed(error: &NetError, what: &str) -> (Answer, Duration) {
    if error.is_no_records_found() {
        return no_records(what);
    }
    (
        Answer::Failed(format!("DNS cannot be asked for {what}: {error}")),
        FAILURE_LIFETIME,
    )
}
