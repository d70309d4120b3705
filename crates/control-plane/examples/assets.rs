//! Builds the programs of a control plane with Go, if they have not been built, and prints their paths.
//!
//! ```sh
//! cargo run --example assets
//! ```
//!
//! Tests do this by themselves. CI does it early, while Rust is compiled.

use std::io::{Result, Write};
use std::process::ExitCode;

use control_plane::assets::{Assets, jsonnet};

fn main() -> Result<ExitCode> {
    // Small, and first: a test that is no case on a control plane needs it.
    let found = jsonnet().and_then(|jsonnet| Ok((jsonnet, Assets::find()?)));
    Ok(match found {
        Ok((jsonnet, assets)) => {
            writeln!(std::io::stdout(), "{jsonnet:?}\n{assets:#?}")?;
            ExitCode::SUCCESS
        }
        Err(missing) => {
            writeln!(std::io::stderr(), "assets: {missing}")?;
            ExitCode::FAILURE
        }
    })
}
