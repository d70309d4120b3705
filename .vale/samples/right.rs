//! Name of the module.
//!
//! What follows is not the first line.

/// Name of the function.
fn amend() {
    let commended = "recommended";
}
