#![no_main]

use csr_warden_fuzz::fuzz_targets::policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| policy::check(data));
