//! hotredis and Redis driven with the same commands, their replies compared.
//!
//! An episode is a list of [`Step`]s: pure data, made by [`crate::generate`] from a seed, so that
//! it can be run again, cut down and printed. [`Pair`] runs it: every step goes to both servers,
//! then everything that either server has sent to any of the connections is gathered and
//! compared. There is no need to know how many replies a command has, or whether other
//! connections are to receive something: two round trips on a separate control connection prove
//! that the server has finished the step (its loop has gone round since), so what has not arrived
//! by then is not coming.
//!
//! Replies are compared byte for byte and type for type. What can not be equal is listed in
//! [`Mask`], with its reason; a mask is attached to a command and loosens nothing else.
//!
//! A mismatch is cut down to a short list of steps by [`shrink`] and printed as `redis-cli` lines.

pub mod events;
pub mod mask;
pub mod run;
pub mod shrink;
pub mod side;
pub mod state;
pub mod step;

pub use mask::Mask;
pub use run::{Mismatch, Pair};
pub use shrink::shrink;
pub use step::{Arg, Command, Step, Vary};

use crate::generate::{Family, episode};
use crate::rng::{SeedOnFailure, seed_or};

/// Runs `episodes` episodes of `family`, each of `steps` steps, and panics at the first mismatch
/// with its minimal reproduction. The share of `make test`.
///
/// # Panics
/// If the servers differ.
pub fn compare_servers(family: Family, default_seed: u64, episodes: u64, steps: usize) {
    compare_pair(Pair::start(), family, default_seed, episodes, steps);
}

/// As [`compare_servers`], between any two servers.
///
/// # Panics
/// If the servers differ.
pub fn compare_pair(
    mut pair: Pair,
    family: Family,
    default_seed: u64,
    episodes: u64,
    steps: usize,
) {
    let base = seed_or(default_seed);
    let _shown = SeedOnFailure(base);
    for number in 0..episodes {
        let seed = base.wrapping_add(number);
        if let Err(report) = run_episode(&mut pair, family, seed, steps) {
            pair.abandon();
            panic!("{report}");
        }
    }
    pair.finish();
}

/// Makes and runs one episode; on a mismatch, the report with the minimal reproduction.
pub fn run_episode(pair: &mut Pair, family: Family, seed: u64, steps: usize) -> Result<(), String> {
    run_episode_of(pair, family, seed, episode(family, seed, steps))
}

/// Runs the steps of an episode that was made from `seed`, as `run_episode`.
pub fn run_episode_of(
    pair: &mut Pair,
    family: Family,
    seed: u64,
    steps: Vec<Step>,
) -> Result<(), String> {
    let count = steps.len();
    pair.reset();
    let Err(mismatch) = pair.run(&steps) else { return Ok(()) };
    let original = mismatch.step;
    let (minimal, mismatch) = shrink(pair, steps, mismatch);
    let lines: Vec<String> = minimal.iter().map(|step| format!("    {step}")).collect();
    Err(format!(
        "the servers differ: family {family}, episode seed {seed}, step {original} of {count}\n\
         minimal reproduction ({} steps; cN is a connection):\n{}\n\n{mismatch}\n",
        minimal.len(),
        lines.join("\n"),
    ))
}
