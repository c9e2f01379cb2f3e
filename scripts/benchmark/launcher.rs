//! What a server that is counted upgrades to: becomes valgrind, on the program that the variable
//! `LAUNCHED` names after valgrind's own words, one a line, with the arguments of this one.
//!
//! Valgrind cannot follow a server into its successor by itself: that is run by a descriptor which is closed on exec.

use std::os::unix::process::CommandExt;

fn main() {
    let words = std::env::var("LAUNCHED").expect("LAUNCHED is set by scripts/benchmark/counted.py");
    let mut words = words.lines();
    let program = words.next().expect("LAUNCHED names a program");
    let arguments = std::env::args_os().skip(1);
    let error = std::process::Command::new(program).args(words).args(arguments).exec();
    panic!("cannot run {program}: {error}");
}
