//! Name of the module.
//!
//! What follows is not the first line.

/// Name of the function.
fn amend() {
    let commended = "recommended";
}

fn recommend() {
    // Where there is no answer, ask again.
    // What follows is not the first line.
    let one = 1;
}
