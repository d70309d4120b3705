//! Bridge from the fuzz targets to libFuzzer. Everything else is in `testkit::fuzz_targets`, which the tests
//! of the judge use too.

pub use testkit::fuzz_targets;

use testkit::random::Random;

/// Changes the buffer by the target's own mutator, or by libFuzzer's if that returns nothing.
/// Returns the new size.
pub fn mutate(
    with: testkit::fuzz_targets::Mutate,
    buffer: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
) -> usize {
    let mutant = with(&buffer[..size], &mut Random::new(seed.into()));
    match mutant.filter(|mutant| mutant.len() <= max_size) {
        Some(mutant) => {
            buffer[..mutant.len()].copy_from_slice(&mutant);
            mutant.len()
        }
        None => libfuzzer_sys::fuzzer_mutate(buffer, size, max_size),
    }
}
