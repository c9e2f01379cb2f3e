//! Values to be restored: what is accepted stands soundly in an arena and is dumped as what it is.
//! `cargo +nightly fuzz run dump fuzz/corpus/dump fuzz/seeds/dump`.

#![no_main]

#[path = "../../tests/lib/proofs.rs"]
mod proofs;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;

thread_local! {
    static RESTORER: RefCell<proofs::Restorer> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| {
    RESTORER.with_borrow_mut(|restorer| restorer.dump(bytes));
});
