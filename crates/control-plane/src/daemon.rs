//! The csr-warden process: its output, HTTP server and memory.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::output::Output;
use super::process::{Launch, Process};
use super::{POLL_INTERVAL, metrics};

/// A running daemon. It is killed when dropped.
pub struct Daemon {
    /// The process, which can be stopped, killed, paused and restarted.
    pub process: Process,
    address: SocketAddr,
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Daemon {
    /// Starts `binary` with these arguments and environment variables. The log is `dir/NAME.log`.
    ///
    /// `address` is the address of its HTTP server. The caller takes a port from
    /// [`super::ports::free`] and also passes it in `args`.
    pub fn start(
        binary: &Path,
        name: &str,
        dir: &Path,
        address: SocketAddr,
        args: impl IntoIterator<Item = impl Into<OsString>>,
        envs: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self> {
        let mut launch = Launch::new(name, binary, dir).with_stdin().args(args);
        for (name, value) in envs {
            launch = launch.env(name, value);
        }
        Self::launch(launch, address)
    }

    /// Starts a process that becomes a daemon with an HTTP server at this address.
    pub fn launch(launch: Launch, address: SocketAddr) -> Result<Self> {
        Ok(Self {
            process: Process::spawn(launch)?,
            address,
        })
    }

    /// Returns the address of its HTTP server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its stdout.
    pub fn stdout(&self) -> &Output {
        &self.process.stdout
    }

    /// Returns its stderr.
    pub fn stderr(&self) -> &Output {
        &self.process.stderr
    }

    /// Sends a GET to its HTTP server.
    pub async fn http_get(&self, path: &str) -> Result<Answer> {
        http_get(self.address, path).await
    }

    /// Waits until `/readyz` returns 200.
    pub async fn wait_ready(&mut self, deadline: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.process.must_run()?;
            let answer = self.http_get("/readyz").await;
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if begun.elapsed() > deadline {
                let log = self.process.log_tail();
                bail!("daemon not ready after {deadline:?}: {answer:?}\n{log}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until `/readyz` returns 503 with this text in the body.
    pub async fn wait_unready(&mut self, why: &str, deadline: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.process.must_run()?;
            let answer = self.http_get("/readyz").await;
            let says = |answer: &Answer| answer.status == 503 && answer.body.contains(why);
            if answer.as_ref().is_ok_and(says) {
                return Ok(());
            }
            if begun.elapsed() > deadline {
                bail!("`/readyz` does not say `{why}` after {deadline:?}: {answer:?}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits for a line with this text on stderr.
    pub async fn wait_for_log(&self, text: &str, deadline: Duration) -> Result<String> {
        let line = |line: &str| line.contains(text).then(|| line.to_owned());
        self.stderr()
            .find(deadline, line)
            .await
            .with_context(|| format!("nothing says `{text}`\n{}", self.process.log_tail()))
    }

    /// Returns the sum of the metrics whose name and labels have this prefix, or 0 without any.
    pub async fn metric(&self, series: &str) -> Result<u64> {
        let text = self.http_get("/metrics").await?.body;
        Ok(metrics::total(&text, series))
    }

    /// Returns true if its metrics report leadership.
    pub async fn is_leader(&self) -> Result<bool> {
        Ok(self.metric("csr_warden_leader ").await? == 1)
    }

    /// Returns the number of conditions that it has written.
    pub async fn written(&self) -> Result<u64> {
        self.metric("csr_warden_writes_total{result=\"written\"}")
            .await
    }

    /// Returns the resident memory in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        self.status()?.vmrss.context("no VmRSS")
    }

    /// Returns the peak resident memory in KiB.
    pub fn peak_resident_kib(&self) -> Result<u64> {
        self.status()?.vmhwm.context("no VmHWM")
    }

    fn status(&self) -> Result<procfs::process::Status> {
        Ok(self.proc_dir()?.status()?)
    }

    /// Returns its CPU time, user and system together.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = self.proc_dir()?.stat()?;
        let ticks = stat.utime + stat.stime;
        Ok(Duration::from_millis(
            ticks * 1000 / procfs::ticks_per_second(),
        ))
    }

    fn proc_dir(&self) -> Result<procfs::process::Process> {
        let id = self.process.id().context("the daemon is not running")?;
        Ok(procfs::process::Process::new(i32::try_from(id)?)?)
    }

    /// Sends SIGTERM and waits until the process has exited.
    pub async fn sigterm(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.process.stop(deadline).await
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Sends SIGSTOP.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// Sends SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }
}

/// Sends a GET over HTTP/1.1, with a timeout of 5 s for each step.
pub async fn http_get(address: SocketAddr, path: &str) -> Result<Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    tokio::task::spawn_blocking(move || exchange(address, request.as_bytes())).await?
}

/// Sends a POST of JSON over HTTP/1.1, with a timeout of 5 s for each step.
pub async fn http_post(address: SocketAddr, path: &str, body: &str) -> Result<Answer> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    tokio::task::spawn_blocking(move || exchange(address, request.as_bytes())).await?
}

fn exchange(address: SocketAddr, request: &[u8]) -> Result<Answer> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    read_answer(answer)
}

/// Parses a response that ended with the connection.
pub fn read_answer(answer: Vec<u8>) -> Result<Answer> {
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("no end of the head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    let body = if chunked {
        unchunk(body)?
    } else {
        body.to_owned()
    };
    Ok(Answer { status, body })
}

/// Decodes chunked transfer coding (RFC 9112, 7.1) without trailers.
fn unchunk(mut rest: &str) -> Result<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").context("no size of a chunk")?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or(size), 16)?;
        if size == 0 {
            return Ok(body);
        }
        body.push_str(after.get(..size).context("a chunk that is too short")?);
        rest = after.get(size + 2..).context("no end of a chunk")?;
    }
}
