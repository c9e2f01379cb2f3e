//! The `hotredis` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    hotredis::cli::main(&hotredis::cli::Entry::default())
}
