#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hoop_agent::fuzzing::config(data));
