//! What this module is.

/// Whether it is one.
/// How is the second line, which is not reported.
fn one() {
    // Read anew, by whomever and in
    // vain.
    let message = "nobody answers";
}
