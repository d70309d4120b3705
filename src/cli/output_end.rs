//! End of standard output: its reader is gone, or its terminal has vanished.

use std::io::stdout;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;

/// Completes when standard output has ended. A file never ends.
pub(super) async fn stdout_ended() {
    let (sender, ended) = oneshot::channel();
    // A thread of its own waits without polling at intervals, and ends with the process.
    let waiting = thread::Builder::new().name("stdout".to_owned());
    let waiting = waiting.spawn(move || {
        if has_ended(None) {
            let _ = sender.send(());
        }
    });
    if waiting.is_err() || ended.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns true if standard output has ended.
pub(super) fn stdout_has_ended() -> bool {
    has_ended(Some(&Timespec::default()))
}

/// Waits until standard output has ended, or this time has passed. Returns true if it has ended.
fn has_ended(limit: Option<&Timespec>) -> bool {
    let stdout = stdout();
    loop {
        // Both are reported without being asked for.
        let mut outputs = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut outputs, limit) {
            Err(Errno::INTR) => {}
            // No file descriptor, or one that cannot be polled, such as a device on macOS.
            Err(_) => return false,
            Ok(_) => {
                let ends = PollFlags::HUP | PollFlags::ERR;
                return outputs
                    .iter()
                    .any(|output| output.revents().intersects(ends));
            }
        }
    }
}
