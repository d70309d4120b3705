#![no_main]

use csr_warden_fuzz::targets::policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| policy::holds(data));
