#![no_main]

use csr_warden_fuzz::fuzz_targets::pem;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pem::check(data));
