//! Progress line on a terminal, for work that takes longer than a second.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use crate::doctor::Progress;

/// Time before progress is shown.
const PATIENCE: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(200);

/// Runs the work, and shows its progress on a terminal after [`PATIENCE`].
pub(super) async fn shown<T>(progress: &Progress, work: impl Future<Output = T>) -> T {
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let mut ticks = interval_at(Instant::now() + PATIENCE, EVERY);
    let mut work = std::pin::pin!(work);
    let mut written = false;
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticks.tick() => {
                write(&format!("\r{}", line(progress)));
                written = true;
            }
        }
    };
    if written {
        // Return to the start of the line, and clear it.
        write("\r\x1b[K");
    }
    done
}

fn line(progress: &Progress) -> String {
    match progress.kubelets() {
        None => "asking the API server …".to_owned(),
        Some((done, total)) => format!("asking kubelets: {done} of {total} …"),
    }
}

/// Writes to standard error. Errors are ignored, since the work does not depend on them.
fn write(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
