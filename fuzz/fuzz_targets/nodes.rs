//! Looks for inputs of the target `nodes`.

#![no_main]

#[global_allocator]
static COUNTING: fuzz_bodies::limits::Counting = fuzz_bodies::limits::Counting;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_bodies::targets::fuzz("nodes", data));
