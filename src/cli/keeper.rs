//! `hotredis keeper`: becomes the keeper of a server that has lost its own, or whose keeper becomes this
//! program.

use std::os::fd::RawFd;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::inherited::adopt;
use crate::keeper;
use crate::keeper_state::KeeperState;
use crate::logging;

#[derive(Debug, Args)]
pub struct Options {
    /// Number of the inherited descriptor of what it has to know.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(3..))]
    state_fd: RawFd,
    /// Only look whether this binary could.
    #[arg(long = "try")]
    trial: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    // As the keeper that was started by hand is called.
    nix::sys::prctl::set_name(c"hotredis").context("cannot set the process's name")?;
    let state = adopt(options.state_fd)
        .and_then(KeeperState::from_descriptor)
        .context("this subcommand is run by a server only: start one with 'hotredis serve'")?;
    let level = state.settings.log_level()?;
    if options.trial {
        return Ok(ExitCode::SUCCESS);
    }
    logging::init(state.settings.log_format, level);
    Ok(keeper::carry_on(state))
}
