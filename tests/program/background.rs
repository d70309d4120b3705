//! Processes that run beside a test.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Time after which a process counts as one that does not end.
const SOON: Duration = Duration::from_secs(60);

/// A process that is killed when dropped.
pub(crate) struct Background(pub(crate) Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Background {
    /// Starts a process whose log is read.
    pub(crate) fn logging(mut command: Command) -> (Background, BufReader<ChildStderr>) {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        (Background(child), log)
    }

    /// Waits for the end of the process. Returns its exit code; `None` if it had to be killed.
    pub(crate) fn code(mut self) -> Option<i32> {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap());
        let (ended, end) = mpsc::channel::<()>();
        let killer = thread::spawn(move || {
            if end.recv_timeout(SOON) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        let code = self.0.wait().unwrap().code();
        drop(ended);
        killer.join().unwrap();
        code
    }
}

/// Reads lines until one contains this text. Returns that line.
pub(crate) fn line_with(output: &mut impl BufRead, text: &str) -> String {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "no `{text}`");
    }
    line
}
