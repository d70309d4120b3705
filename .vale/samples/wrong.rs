//! What this module is.

/// Whether it is one.
/// How is the second line, which is not reported.
fn one() {
    // Read anew, by whomever and in
    // vain.
    let message = "nobody answers";
}

fn two() {
    // What is a question word.
    // How is the second line, which is not reported.
    let one = 1;
    // Where nothing follows that is conditional.
    let two = 2;
}
