//! `csr-warden status`: the selection of Nodes, and the end of `--watch` with its output.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};

use assert_cmd::cargo::CommandCargoExt as _;
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::background::{Background, line_with};
use crate::embedded::{Embedded, json_of, ran};

const ROLE: &str = "node-role.kubernetes.io/control-plane";

fn embedded() -> Embedded {
    let embedded = Embedded::start();
    embedded.node("cp-1", ROLE, "10.0.0.1");
    embedded.node("worker-1", "zone", "10.0.0.2");
    embedded.node("worker-2", "zone", "10.0.0.3");
    embedded
}

#[test]
fn nodes_are_selected_by_name_and_label() {
    let embedded = embedded();
    let nodes = |args: &[&str]| {
        let args = [&["status", "-o", "json"], args].concat();
        let (code, stdout, stderr) = ran(embedded.command(&args));
        assert_eq!(code, 0, "{stderr}");
        let items = json_of("status", &stdout)["items"].clone();
        let items = items.as_array().unwrap().clone();
        let names = items
            .iter()
            .map(|item| item["node"].as_str().unwrap().to_owned());
        names.collect::<Vec<String>>()
    };
    assert_eq!(nodes(&[]), ["cp-1", "worker-1", "worker-2"]);
    assert_eq!(nodes(&["worker-2", "node/cp-1"]), ["cp-1", "worker-2"]);
    assert_eq!(nodes(&["-l", ROLE]), ["cp-1"]);
    assert_eq!(nodes(&["--selector", "zone"]), ["worker-1", "worker-2"]);
    assert_eq!(nodes(&["-l", "zone=no"]), Vec::<String>::new());
    for (args, expected) in [
        (
            ["worker-9", "cp-1"],
            "no Node and no request of one is named worker-9",
        ),
        (["-l", "a in"], "cannot select Nodes by `a in`: "),
        (["cp-1", "-lzone"], "cannot be used with"),
    ] {
        let args = [&["status"], args.as_slice()].concat();
        let (code, _, stderr) = ran(embedded.command(&args));
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
    let (_, with, _) = ran(embedded.command(&["status"]));
    let (_, without, _) = ran(embedded.command(&["status", "--no-headers"]));
    assert!(with.starts_with("NODE "), "{with}");
    assert_eq!(with.split_once('\n').unwrap().1, without);
    let (_, none, _) = ran(embedded.command(&["status", "-l", "zone=no", "--no-headers"]));
    assert_eq!(none, "");
}

/// A shell that ignores SIGHUP, as a terminal's descendants can, and becomes the command.
fn ignoring_hangup(embedded: &Embedded, args: &[&str]) -> Command {
    let own = embedded.command(args);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    command.arg(own.get_program()).args(own.get_args());
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Both sides of a new terminal. No process inherits the first one, which ends the terminal.
fn terminal() -> (PtyMaster, File) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname_r(&master).unwrap();
    let mut slave = File::options();
    slave
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits());
    (master, slave.open(path).unwrap())
}

const WATCH: [&str; 4] = ["status", "--watch", "--interval", "3600"];

#[test]
fn a_watch_ends_with_the_reader_of_its_output() {
    let embedded = embedded();
    let mut command = ignoring_hangup(&embedded, &WATCH);
    let mut watching = Background(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut stdout = BufReader::new(watching.0.stdout.take().unwrap());
    line_with(&mut stdout, "worker-2");
    // It is idle for an hour.
    drop(stdout);
    assert_eq!(watching.code(), Some(0));
}

#[test]
fn a_watch_ends_with_its_terminal() {
    let embedded = embedded();
    let (terminal, slave) = terminal();
    let mut command = ignoring_hangup(&embedded, &WATCH);
    let watching = Background(command.stdout(Stdio::from(slave)).spawn().unwrap());
    // The command keeps a copy of the terminal's other side.
    drop(command);
    let mut terminal = BufReader::new(terminal);
    line_with(&mut terminal, "worker-2");
    drop(terminal);
    assert_eq!(watching.code(), Some(0));
}

/// The API server is gone too: each further look fails.
#[test]
fn a_watch_of_a_cluster_that_is_gone_ends_with_its_output() {
    let embedded = embedded();
    let mut command = ignoring_hangup(&embedded, &["status", "--watch", "--interval", "1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watching = Background(command.spawn().unwrap());
    let mut stdout = BufReader::new(watching.0.stdout.take().unwrap());
    let mut stderr = BufReader::new(watching.0.stderr.take().unwrap());
    line_with(&mut stdout, "worker-2");
    drop(embedded);
    line_with(&mut stderr, "cannot be read");
    drop(stdout);
    assert_eq!(watching.code(), Some(0));
}

#[test]
fn a_watch_into_a_file_goes_on_until_it_is_interrupted() {
    let embedded = embedded();
    let mut command = embedded.command(&["status", "--watch", "--interval", "1"]);
    let file = embedded.dir.path().join("out");
    command.stdout(std::fs::File::create(&file).unwrap());
    let watching = Background(command.spawn().unwrap());
    let has = |text: &str| std::fs::read_to_string(&file).unwrap().contains(text);
    while !has("worker-2") {
        std::thread::yield_now();
    }
    embedded.node("worker-3", "zone", "10.0.0.4");
    while !has("worker-3") {
        std::thread::yield_now();
    }
    let pid = Pid::from_raw(watching.0.id().try_into().unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(watching.code(), Some(0));
}

#[test]
fn a_demonstration_ends_with_the_reader_of_its_output() {
    let mut command = Command::cargo_bin("csr-warden").unwrap();
    command.args(["demo", "--nodes", "1", "--attackers", "0", "--keep"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut running = Background(command.spawn().unwrap());
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    line_with(&mut stdout, "Press Ctrl-C");
    drop(stdout);
    assert_eq!(running.code(), Some(0));
}
