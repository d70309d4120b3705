//! Connections as kubectl has them: flags, real proxies on loopback, and credentials of plugins.

use std::io::BufRead as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use control_plane::ports;
use serde_json::{Value, json};

use crate::background::Background;
use crate::embedded::{Embedded, command, json_of, ran};

/// The API server's version as the command reads it, or the reason why it cannot.
fn version(mut asked: Command) -> Result<String, String> {
    asked.args(["-o", "json"]);
    let (code, stdout, stderr) = ran(asked);
    assert_eq!(code, 0, "{stderr}");
    let versions = json_of("version", &stdout);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let version = text(&versions["server"]["version"]);
    version.ok_or_else(|| text(&versions["serverError"]).unwrap_or_default())
}

#[test]
fn each_flag_means_what_it_means_in_kubectl() {
    let embedded = Embedded::start();
    embedded.node("worker-1", "zone", "10.0.0.1");
    let mut kubeconfig = embedded.kubeconfig();
    kubeconfig["clusters"][0]["name"] = "real".into();
    kubeconfig["users"][0]["name"] = "admin".into();
    let wrong = json!({"name": "wrong", "cluster": {"server": "https://127.0.0.1:1"}});
    kubeconfig["clusters"].as_array_mut().unwrap().push(wrong);
    let nothing = json!({"name": "nothing", "user": {}});
    kubeconfig["users"].as_array_mut().unwrap().push(nothing);
    kubeconfig["contexts"] = json!([
        {"name": "wrong", "context": {"cluster": "wrong", "user": "nothing"}},
        {"name": "right", "context": {"cluster": "real", "user": "admin"}},
    ]);
    kubeconfig["current-context"] = "wrong".into();
    let file = embedded.file(&kubeconfig);
    let status = |flags: &[&str]| ran(command(&file, &[&["status"], flags].concat()));

    let right = ["--cluster", "real", "--user", "admin"];
    for flags in [["--context", "right"].as_slice(), &right] {
        let (code, stdout, stderr) = status(flags);
        assert!(code == 0 && stdout.contains("worker-1"), "{stderr}");
    }
    for (flags, expected) in [
        (&[][..], "https://127.0.0.1:1"),
        (&["--cluster", "real"], "permission"),
        (&["--context", "right", "--user", "nothing"], "permission"),
        (
            &["--context", "right", "--server", "https://127.0.0.1:2"],
            "https://127.0.0.1:2",
        ),
        (
            &["--context", "right", "-s", "example.org"],
            "found `example.org`",
        ),
        (
            &["--user", "absent"],
            "no user `absent`; found `admin`, `nothing`",
        ),
        (
            &["--cluster", "absent"],
            "no cluster `absent`; found `real`, `wrong`",
        ),
        (&["--as-group", "system:nodes"], "need the user of --as"),
        (&["--as-user-extra", "a"], "expected KEY=VALUE"),
        (
            &["--request-timeout", "soon"],
            "expected seconds, or a time",
        ),
    ] {
        let (code, _, stderr) = status(flags);
        assert!(
            code == 2 && stderr.contains(expected),
            "{flags:?}: {stderr}"
        );
    }
    let url = embedded.server.url();
    let without_ca = ["--cluster", "wrong", "--user", "admin", "--server", &url];
    let (_, _, stderr) = status(&without_ca);
    assert!(
        stderr.contains("its certificate is not signed by a CA"),
        "{stderr}"
    );

    // The impersonated user may read nothing, and is named.
    let right = ["--context", "right"];
    let (_, _, stderr) = status(&[&right[..], &["--as", "someone"]].concat());
    assert!(stderr.contains("User \"someone\" cannot list"), "{stderr}");
    let as_admin = [
        "--as",
        "someone",
        "--as-group",
        "system:masters",
        "--as-uid",
        "7",
    ];
    let extra = ["--as-user-extra", "a=b", "--as-user-extra", "a=c=d"];
    let (code, stdout, stderr) = status(&[&right[..], &as_admin, &extra].concat());
    assert!(code == 0 && stdout.contains("worker-1"), "{stderr}");
}

#[test]
fn a_request_ends_with_its_timeout() {
    let embedded = Embedded::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    for limit in ["1", "1s", "1000ms"] {
        let flags = ["status", "--server", &url, "--request-timeout", limit];
        let (code, _, stderr) = ran(embedded.command(&flags));
        assert_eq!(code, 2);
        assert!(stderr.contains("did not answer in time"), "{stderr}");
    }
}

/// A proxy of Debian.
struct Proxy {
    _process: Background,
    address: String,
    log: PathBuf,
}

impl Proxy {
    /// Starts tinyproxy, which logs its connections. `None` if it is not installed.
    fn http(embedded: &Embedded, credential: Option<(&str, &str)>) -> Option<Proxy> {
        let [port] = ports::free().unwrap();
        let directory = embedded.dir.path();
        let log = directory.join(format!("tinyproxy-{port}.log"));
        let credential =
            credential.map(|(user, password)| format!("BasicAuth {user} {password}\n"));
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nLogLevel Connect\nLogFile \"{}\"\n{}",
            log.display(),
            credential.unwrap_or_default()
        );
        let file = directory.join(format!("tinyproxy-{port}.conf"));
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("tinyproxy");
        command
            .arg("-d")
            .arg("-c")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Proxy::start(command, port, log)
    }

    /// Starts microsocks, which logs its connections. `None` if it is not installed.
    fn socks(embedded: &Embedded, credential: Option<(&str, &str)>) -> Option<Proxy> {
        let [port] = ports::free().unwrap();
        let log = embedded.dir.path().join(format!("microsocks-{port}.log"));
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
        if let Some((user, password)) = credential {
            command.args(["-u", user, "-P", password]);
        }
        command
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap());
        Proxy::start(command, port, log)
    }

    fn start(mut command: Command, port: u16, log: PathBuf) -> Option<Proxy> {
        let child = match command.stdin(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) => {
                let program = command.get_program().display();
                assert!(
                    std::env::var_os("CI").is_none(),
                    "cannot run {program}: {error}"
                );
                return None;
            }
        };
        let address = format!("127.0.0.1:{port}");
        let proxy = Proxy {
            _process: Background(child),
            address,
            log,
        };
        while TcpStream::connect(&proxy.address).is_err() {
            std::thread::yield_now();
        }
        Some(proxy)
    }

    /// The number of connections to this server.
    fn connections(&self, server: &str) -> usize {
        let text = std::fs::read_to_string(&self.log).unwrap();
        let (address, port) = server.rsplit_once(':').unwrap();
        let ends = [
            format!("{address}:{port}"),
            format!("\"{address}\""),
            format!("host: {address} "),
        ];
        let names = |line: &&str| ends.iter().any(|end| line.contains(end));
        text.lines().filter(names).count()
    }
}

/// All four ways through a proxy, each with a wrong password where it has one.
#[test]
fn a_proxy_url_leads_through_a_real_proxy() {
    let embedded = Embedded::start();
    let server = embedded.server.url().replace("https://", "");
    let credential = Some(("user", "secret"));
    let proxies = [
        ("http", "", Proxy::http(&embedded, None)),
        ("http", "user:secret@", Proxy::http(&embedded, credential)),
        ("socks5", "", Proxy::socks(&embedded, None)),
        (
            "socks5",
            "user:secret@",
            Proxy::socks(&embedded, credential),
        ),
        (
            "socks5h",
            "user:secret@",
            Proxy::socks(&embedded, credential),
        ),
    ];
    for (scheme, user, proxy) in proxies {
        let Some(proxy) = proxy else { continue };
        let through = |user: &str| {
            let mut kubeconfig = embedded.kubeconfig();
            let url = format!("{scheme}://{user}{}", proxy.address);
            kubeconfig["clusters"][0]["cluster"]["proxy-url"] = url.into();
            let file = embedded.file(&kubeconfig);
            // A proxy-url is used for servers that NO_PROXY excludes, too.
            let mut asked = command(&file, &["version"]);
            asked.env("NO_PROXY", "*");
            version(asked)
        };
        let before = proxy.connections(&server);
        let found = through(user);
        assert!(found.is_ok(), "{scheme} {user}: {found:?}");
        let text = std::fs::read_to_string(&proxy.log).unwrap();
        assert!(
            proxy.connections(&server) > before,
            "{scheme} {user}: {text}"
        );
        if !user.is_empty() {
            let error = through("user:wrong@").unwrap_err();
            let expected = format!("through the proxy {scheme}://{}: ", proxy.address);
            assert!(error.contains(&expected), "{error}");
        }
    }
}

/// This machine's own address `0.0.0.0` is none of loopback, which `HTTPS_PROXY` never concerns.
#[test]
fn the_environment_leads_through_a_real_proxy() {
    let embedded = Embedded::start();
    let url = embedded.server.url().replace("127.0.0.1", "0.0.0.0");
    let mut kubeconfig = embedded.kubeconfig();
    kubeconfig["clusters"][0]["cluster"]["server"] = url.clone().into();
    kubeconfig["clusters"][0]["cluster"]["tls-server-name"] = "127.0.0.1".into();
    let file = embedded.file(&kubeconfig);
    let asked = |proxy: &str, excluded: &str| {
        let mut asked = command(&file, &["version"]);
        asked.env("HTTPS_PROXY", proxy).env("NO_PROXY", excluded);
        version(asked)
    };
    let server = url.replace("https://", "");
    let credential = Some(("user", "secret"));
    for (scheme, proxy) in [
        ("http://user:secret@", Proxy::http(&embedded, credential)),
        ("user:secret@", Proxy::http(&embedded, credential)),
        ("socks5://", Proxy::socks(&embedded, None)),
    ] {
        let Some(proxy) = proxy else { continue };
        let found = asked(
            &format!("{scheme}{}", proxy.address),
            "example.org,10.0.0.0/8",
        );
        assert!(found.is_ok(), "{scheme}: {found:?}");
        let used = proxy.connections(&server);
        let text = std::fs::read_to_string(&proxy.log).unwrap();
        assert!(used > 0, "{scheme}: {text}");
        let found = asked(&format!("{scheme}{}", proxy.address), "0.0.0.0");
        assert!(found.is_ok(), "{scheme}: {found:?}");
        assert_eq!(proxy.connections(&server), used, "{scheme}");
    }
    // A value that names no proxy matters only where it would be used.
    let error = asked("http://user:secret @", "").unwrap_err();
    assert!(
        error.starts_with("HTTPS_PROXY: expected a proxy"),
        "{error}"
    );
    assert!(
        !error.contains("secret") && !error.contains("kubeconfig"),
        "{error}"
    );
    assert!(asked("http://user:secret @", "0.0.0.0/0").is_ok());
}

/// Watches and Machines of another cluster go through the proxy too.
#[test]
fn the_daemon_goes_through_a_proxy() {
    let embedded = Embedded::start();
    let Some(proxy) = Proxy::http(&embedded, None) else {
        return;
    };
    let url = embedded.server.url().replace("127.0.0.1", "0.0.0.0");
    let server = url.replace("https://", "");
    let mut kubeconfig = embedded.kubeconfig();
    kubeconfig["clusters"][0]["cluster"]["server"] = url.into();
    kubeconfig["clusters"][0]["cluster"]["tls-server-name"] = "127.0.0.1".into();
    let machines = embedded.file(&kubeconfig);
    let machines = machines.to_str().unwrap();
    let flags = ["--policy", "cluster-api", "--machines-kubeconfig", machines];
    // This machine is excluded for the daemon's own cluster.
    let mut daemon = embedded.dry_run(&flags);
    daemon.env("HTTPS_PROXY", format!("http://{}", proxy.address));
    let (daemon, log) = Background::logging(daemon);
    // The embedded API server has no Machines.
    let mut read = Vec::new();
    let asked = log.lines().map_while(Result::ok).any(|line| {
        let found = line.contains("machines cannot be read: ");
        read.push(line);
        found
    });
    drop(daemon);
    let last = read.last().cloned().unwrap_or_default();
    assert!(asked && !last.contains("reached"), "{read:#?}");
    assert!(proxy.connections(&server) > 0);
}

#[test]
fn a_missing_exec_plugin_is_named_with_its_hint() {
    let embedded = Embedded::start();
    let mut kubeconfig = embedded.kubeconfig();
    kubeconfig["users"][0]["user"] = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "example-auth-plugin",
        "interactiveMode": "IfAvailable",
        "installHint": "install example-auth-plugin",
    }});
    let file = embedded.file(&kubeconfig);
    let (code, _, stderr) = ran(command(&file, &["status"]));
    assert_eq!(code, 2);
    let expected = "csr-warden: cannot run `example-auth-plugin`, which the kubeconfig names for the credential: ";
    assert!(stderr.starts_with(expected), "{stderr}");
    assert!(
        stderr.ends_with(": install example-auth-plugin\n"),
        "{stderr}"
    );
}
