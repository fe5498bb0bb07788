//! See the file in `tests/fuzz`, which `cargo test` runs, too.
#![no_main]

#[path = "../../../tests/fuzz/flags.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::check(data));
