//! Entry point of csr-warden; the library contains everything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    csr_warden::cli::main()
}
