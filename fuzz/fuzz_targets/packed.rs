//! Packed runs and sets of integers: what is accepted is read alike from both ends, and nothing harms the
//! readers. `cargo +nightly fuzz run packed fuzz/corpus/packed fuzz/seeds/packed`.

#![no_main]

#[path = "../../tests/lib/proofs.rs"]
mod proofs;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    proofs::packed_run(bytes);
    proofs::integers(bytes);
});
