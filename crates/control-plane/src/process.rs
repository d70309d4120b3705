//! A child process with a name and a log. It can be restarted, and never outlives the test.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::POLL_INTERVAL;
use super::output::{Output, open_log, tail};

/// The configuration of a process, for any number of starts.
#[derive(Clone)]
pub struct Launch {
    /// The name in messages.
    pub name: String,
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to the environment of the test.
    pub envs: Vec<(OsString, OsString)>,
    /// The log file of its stdout and stderr.
    pub log: PathBuf,
    /// Keeps stdin open, and stdout and stderr in memory too.
    pub piped: bool,
}

impl Launch {
    /// Creates the configuration of a process that only writes a log, `dir/NAME.log`.
    pub fn new(name: &str, program: &Path, dir: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            log: dir.join(format!("{name}.log")),
            piped: false,
        }
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Keeps stdin open, and stdout and stderr in memory too.
    pub fn with_stdin(mut self) -> Self {
        self.piped = true;
        self
    }

    fn command(&self) -> Result<Command> {
        // The child gets SIGKILL when the test process ends for any reason.
        let mut command = if in_path("setpriv") {
            let mut setpriv = Command::new("setpriv");
            setpriv
                .args(["--pdeathsig", "KILL", "--"])
                .arg(&self.program);
            setpriv
        } else {
            Command::new(&self.program)
        };
        command.args(&self.args);
        // No request may leave the machine, and no cluster of the developer may be used.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "KUBECONFIG"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        for name in ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
            command.env_remove(name);
        }
        command.envs(self.envs.iter().map(|(n, v)| (n, v)));
        if self.piped {
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
        } else {
            let log = open_log(&self.log)?;
            command
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log);
        }
        Ok(command)
    }
}

/// A process, running or exited. It is killed when dropped.
pub struct Process {
    launch: Launch,
    child: Option<Child>,
    /// Its stdout, if it is kept in memory.
    pub stdout: Output,
    /// Its stderr, if it is kept in memory.
    pub stderr: Output,
}

impl Process {
    /// Starts the process for the first time.
    pub fn spawn(launch: Launch) -> Result<Self> {
        let (stdout, stderr) = (Output::default(), Output::default());
        let mut process = Self {
            launch,
            child: None,
            stdout,
            stderr,
        };
        process.start()?;
        Ok(process)
    }

    /// Restarts the process with the same arguments. It must not be running.
    pub fn start(&mut self) -> Result<()> {
        if self.is_running() {
            bail!("{} is running already", self.launch.name);
        }
        let mut child = spawn_from_permanent_thread(self.launch.command()?).with_context(|| {
            format!("start {} `{}`", self.name(), self.launch.program.display())
        })?;
        if let Some(stdout) = child.stdout.take() {
            self.stdout.read(stdout, &self.launch.log)?;
        }
        if let Some(stderr) = child.stderr.take() {
            self.stderr.read(stderr, &self.launch.log)?;
        }
        self.child = Some(child);
        Ok(())
    }

    /// Returns the name in messages.
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// Returns the path of the log file.
    pub fn log(&self) -> &Path {
        &self.launch.log
    }

    /// Returns the configuration of the next start.
    pub fn launch_mut(&mut self) -> &mut Launch {
        &mut self.launch
    }

    /// Returns the process ID while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Returns the pipe to its stdin, if it is open.
    pub fn stdin(&mut self) -> Option<&mut ChildStdin> {
        self.child.as_mut()?.stdin.as_mut()
    }

    /// Returns true if it was started and has not exited.
    pub fn is_running(&mut self) -> bool {
        matches!(self.exited(), Ok(None)) && self.child.is_some()
    }

    /// Returns the exit status once it has exited.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?),
            None => Ok(None),
        }
    }

    /// Returns an error with the end of its log, if it has exited.
    pub fn must_run(&mut self) -> Result<()> {
        match self.exited()? {
            None if self.child.is_some() => Ok(()),
            None => bail!("{} was not started", self.name()),
            Some(status) => bail!("{} ended: {status}\n{}", self.name(), self.log_tail()),
        }
    }

    /// Waits for its exit.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                self.child = None;
                return Ok(status);
            }
            if self.child.is_none() {
                bail!("{} is not running", self.name());
            }
            if begun.elapsed() > deadline {
                bail!(
                    "{} has not ended after {deadline:?}\n{}",
                    self.name(),
                    self.log_tail()
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Sends SIGTERM and waits until it has exited.
    ///
    /// etcd takes 7 s with the API server connected. An API server takes a minute with clients that
    /// watch.
    pub async fn stop(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(deadline).await
    }

    /// Sends SIGKILL. Does nothing if it is not running.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child
                .kill()
                .with_context(|| format!("kill {}", self.launch.name))?;
            child.wait()?;
        }
        Ok(())
    }

    /// Sends SIGSTOP, and returns when all of its threads have stopped.
    ///
    /// The signal alone is no pause yet: on busy processors, a thread can still send an answer.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let id = self.id().context("it has just been sent a signal")?;
        let pid = Pid::from_raw(i32::try_from(id)?);
        // Without WNOWAIT, an end would be taken away from `wait`.
        let awaited = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let status = waitid(Id::Pid(pid), awaited)?;
        ensure!(
            matches!(status, WaitStatus::Stopped(..)),
            "{} has not stopped: {status:?}",
            self.name()
        );
        Ok(())
    }

    /// Sends SIGCONT, which resumes it.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(id) = self.id() else {
            bail!("{} is not running", self.name())
        };
        nix::sys::signal::kill(Pid::from_raw(i32::try_from(id)?), signal)
            .with_context(|| format!("{signal} to {}", self.name()))
    }

    /// Returns the end of its log.
    pub fn log_tail(&self) -> String {
        format!("--- {}:\n{}", self.name(), tail(&self.launch.log, 12))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
        let tail = self.log_tail();
        let _ = LOG_TAILS.try_with(|words| words.borrow_mut().push(tail));
    }
}

thread_local! {
    static LOG_TAILS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Returns the log tails of all processes that this thread has dropped since the last call.
/// Concurrent cases have a thread each.
pub(crate) fn take_log_tails() -> String {
    LOG_TAILS.take().join("\n")
}

/// Returns true if a program is in the search path.
pub fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

type SpawnOrder = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts a child from a thread that lives as long as this process.
///
/// The death signal comes when the *thread* that started the child ends, and threads of a runtime
/// can end at any time.
fn spawn_from_permanent_thread(command: Command) -> Result<Child> {
    static ORDERS: OnceLock<mpsc::Sender<SpawnOrder>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (send, orders) = mpsc::channel::<SpawnOrder>();
        std::thread::spawn(move || {
            for (mut command, reply) in orders {
                let _ = reply.send(command.spawn());
            }
        });
        send
    });
    let (reply, answer) = mpsc::channel();
    orders
        .send((command, reply))
        .ok()
        .context("the thread that starts processes is gone")?;
    Ok(answer
        .recv()
        .context("the thread that starts processes is gone")??)
}
