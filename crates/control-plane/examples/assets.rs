//! Builds the programs of a control plane with Go, if they have not been built, and prints their paths.
//!
//! ```sh
//! cargo run --example assets
//! ```
//!
//! Tests do this by themselves. CI does it early, while Rust is compiled.

use std::io::{Result, Write};
use std::process::ExitCode;

use control_plane::assets::Assets;

fn main() -> Result<ExitCode> {
    Ok(match Assets::find() {
        Ok(assets) => {
            writeln!(std::io::stdout(), "{assets:#?}")?;
            ExitCode::SUCCESS
        }
        Err(missing) => {
            writeln!(std::io::stderr(), "assets: {missing}")?;
            ExitCode::FAILURE
        }
    })
}
