#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oomwhy_fuzz::readers::kernel_log(data));
