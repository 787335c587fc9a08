#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oomwhy_fuzz::readers::explanation(data));
