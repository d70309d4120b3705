#![no_main]

use csr_warden_fuzz::fuzz_targets::judge;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| judge::check(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    csr_warden_fuzz::mutate(judge::mutate, data, size, max_size, seed)
});
