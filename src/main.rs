//! The `hotredis` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    hotredis::version::set_build(option_env!("HOTREDIS_BUILD").unwrap_or_default());
    hotredis::cli::main(&hotredis::cli::Entry::default())
}
