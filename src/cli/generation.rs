//! `hotredis generation`: takes over the keeper's channel and learns from its first message what to
//! be.

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use handoff::keeper_channel::{Delivery, GenerationEnd, KeeperToGeneration};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Entry;
use crate::inherited::adopt;
use crate::keeper::alone;
use crate::logging;
use crate::role::{Role, Succession, Why};
use crate::settings::Settings;

/// How long the keeper may take to say what to be. It says so before this process even runs.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub struct Options {
    /// Number of the inherited descriptor of the keeper's channel.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(3..))]
    channel_fd: RawFd,
}

pub fn run(options: &Options, entry: &Entry) -> anyhow::Result<ExitCode> {
    // The kernel names a process that was run by descriptor after the descriptor's number.
    nix::sys::prctl::set_name(c"hotredis").context("cannot set the process's name")?;
    let inherited = adopt(options.channel_fd).context(
        "this subcommand is run by the keeper only: start a server with 'hotredis serve'",
    )?;
    let mut channel = GenerationEnd::from_inherited(inherited)?;
    let first = next_message(&mut channel)?;
    let settings = settings_in(&first.message)?;
    logging::init(settings.log_format, settings.log_level()?);
    let holding = if settings.no_keeper {
        alone::block_signals().context("cannot block signals")?;
        None
    } else {
        Some(holding_link(next_message(&mut channel)?)?)
    };
    let role = role_of(first, settings, holding)?;
    let code = (entry.generation)(channel, role);
    alone::last_words();
    Ok(code)
}

fn settings_in(first: &KeeperToGeneration) -> anyhow::Result<Settings> {
    let json = match first {
        KeeperToGeneration::Start(told) => &told.settings,
        KeeperToGeneration::Succeed(told) => &told.settings,
        KeeperToGeneration::Recover(told) => &told.settings,
        KeeperToGeneration::StandIn(told) => &told.settings,
        other => return Err(no_role(other)),
    };
    Ok(Settings::from_json(json)?)
}

fn holding_link(delivery: Delivery<KeeperToGeneration>) -> anyhow::Result<OwnedFd> {
    match (delivery.message, delivery.descriptor) {
        (KeeperToGeneration::Hold(_), Some(link)) => Ok(link),
        (unexpected, _) => bail!("the keeper's second message is not HOLD: {unexpected:?}"),
    }
}

fn next_message(channel: &mut GenerationEnd) -> anyhow::Result<Delivery<KeeperToGeneration>> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(delivery) = channel.recv()? {
            return Ok(delivery);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("the keeper has not said what to be");
        }
        let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll"),
        }
    }
}

fn role_of(
    delivery: Delivery<KeeperToGeneration>,
    settings: Settings,
    holding: Option<OwnedFd>,
) -> anyhow::Result<Role> {
    let (upgrade, generation, keeper_pid, why) = match &delivery.message {
        KeeperToGeneration::Start(told) => {
            let (generation, keeper_pid) = (told.generation, told.keeper_pid);
            return Ok(Role::First { generation, keeper_pid, settings, holding });
        }
        KeeperToGeneration::Succeed(told) => {
            let why = Why::Upgrade { predecessor_pid: told.predecessor_pid };
            (told.upgrade, told.generation, told.keeper_pid, why)
        }
        KeeperToGeneration::Recover(told) => {
            (told.recovery, told.generation, told.keeper_pid, Why::Death(told.cause))
        }
        KeeperToGeneration::StandIn(told) => {
            (told.recovery, told.generation, told.keeper_pid, Why::Spare)
        }
        other => return Err(no_role(other)),
    };
    // The channel lets none of these through without its descriptor.
    let link = delivery.descriptor.context("the keeper's first message came without its link")?;
    let succession = Succession { upgrade, generation, keeper_pid, why, settings, link, holding };
    Ok(Role::Successor(succession))
}

fn no_role(message: &KeeperToGeneration) -> anyhow::Error {
    anyhow!("the keeper's first message does not say what to be: {message:?}")
}
