#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| palisade_fuzz_targets::targets::name_query(bytes));
