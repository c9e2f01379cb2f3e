//! The command line: one file per subcommand.

mod check;
mod client;
mod fleet;
mod generation;
mod history;
mod keeper;
mod preflight;
mod rollback;
mod serve;
mod status;
mod table;
mod upgrade;

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory, Parser, Subcommand};
use handoff::keeper_channel::GenerationEnd;

use crate::identity::Identity;
use crate::role::Role;
use crate::version;

/// What the command line starts. Tests of the keeper put a generation of their own in here.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Runs a generation until it is to exit, and says with which code.
    pub generation: fn(GenerationEnd, Role) -> ExitCode,
    /// What `hotredis preflight` prints.
    pub identity: fn() -> Identity,
}

impl Default for Entry {
    fn default() -> Self {
        Self { generation: crate::generation::run, identity: crate::generation::identity }
    }
}

/// A Redis-compatible server whose binary is replaced under live traffic.
#[derive(Debug, Parser)]
#[command(name = "hotredis", version = VERSION.as_str(), long_version = LONG_VERSION.as_str())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What `-V` prints.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let described = version::describe(version::VERSION, version::build());
    match version::WARNING {
        "" => described,
        warning => format!("{described}, {warning}"),
    }
});

/// What `--version` prints: what an operator compares before an upgrade, too.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let Identity { keeper_protocol, handoff_versions: (oldest, newest), fingerprints, .. } =
        crate::generation::identity();
    format!(
        "{}\nserves arenas {}\nspeaks handoff {oldest} to {newest}, keeper channel {keeper_protocol}",
        *VERSION,
        fingerprints.join(", ")
    )
});

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Options>),
    Upgrade(upgrade::Options),
    Rollback(rollback::Options),
    History(history::Options),
    Status(status::Options),
    Check(check::Options),
    /// Run as a generation. Started by the keeper only.
    #[command(hide = true)]
    Generation(generation::Options),
    /// Run as the keeper of a server that has lost its own. Started by that server only.
    #[command(hide = true)]
    Keeper(keeper::Options),
    /// Print what this binary is, as one line of JSON. Run by the keeper before an upgrade.
    #[command(hide = true)]
    Preflight,
}

/// Does what the command line says.
pub fn main(entry: &Entry) -> ExitCode {
    let words = serve::spell_out(std::env::args_os().collect(), &Cli::command());
    let done = match Cli::parse_from(words).command {
        Command::Serve(options) => serve::run(*options, entry),
        Command::Upgrade(options) => upgrade::run(&options),
        Command::Rollback(options) => rollback::run(&options),
        Command::History(options) => history::run(&options),
        Command::Status(options) => status::run(&options),
        Command::Check(options) => return check::run(&options),
        Command::Generation(options) => generation::run(&options, entry),
        Command::Keeper(options) => keeper::run(&options),
        Command::Preflight => preflight::run(entry),
    };
    done.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

/// Says on stderr what went wrong, down to the cause.
fn complain(error: &anyhow::Error) {
    eprintln!("hotredis: {error:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_explains_itself() {
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} of {}",
                    argument.get_id(),
                    command.get_name()
                );
            }
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
