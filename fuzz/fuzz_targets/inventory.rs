#![no_main]

use csr_warden_fuzz::fuzz_targets::inventory;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| inventory::check(data));
