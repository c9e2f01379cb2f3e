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
mod observe;
pub mod run;
pub mod shrink;
pub mod side;
pub mod state;
pub mod step;
pub mod upgrading;

pub use mask::Mask;
pub use run::{Mismatch, Pair, Tally};
pub use shrink::shrink;
pub use step::{Arg, Command, Step, Vary};
pub use upgrading::Then;

use crate::binaries;
use crate::coverage::Coverage;
use crate::generate::{Family, episode};
use crate::rng::{Rng, SeedOnFailure, seed_or};

/// Runs `episodes` episodes of `family`, each of `steps` steps with an upgrade in its midst and the
/// checker behind it, and panics at the first mismatch with its minimal reproduction. The share of
/// `make test`. Gives what it has tried.
///
/// If there is only one build of hotredis there are no upgrades (`make test` makes two).
///
/// # Panics
/// If the servers differ.
pub fn compare_servers(family: Family, default_seed: u64, episodes: u64, steps: usize) -> Coverage {
    let pair = match binaries::try_two_builds() {
        Ok(builds) if !binaries::candidate_is_redis() => Pair::start_with(builds.into()),
        Ok(_) => Pair::start(),
        Err(why) => {
            eprintln!("no upgrades in this run: {why}");
            Pair::start()
        }
    };
    compare_pair(pair, family, default_seed, episodes, steps)
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
) -> Coverage {
    let base = seed_or(default_seed);
    let _shown = SeedOnFailure(base);
    for number in 0..episodes {
        let seed = base.wrapping_add(number);
        let mut made = episode(family, seed, steps);
        insert_upgrades(&mut made, seed, steps);
        if let Err(report) = run_episode_of(&mut pair, family, seed, made) {
            pair.abandon();
            panic!("{report}");
        }
        pair.check();
    }
    println!("{family}: {}", pair.tally());
    pair.finish()
}

/// Upgrades at random places, `every` steps apart on average. Half of them are undone: on request, or by a
/// death in the midst of the next steps.
pub fn insert_upgrades(steps: &mut Vec<Step>, seed: u64, every: usize) {
    let mut rng = Rng::new(seed);
    for _ in 0..steps.len() / every.max(1) {
        let at = rng.below(steps.len());
        let then = match rng.below(4) {
            0 => Then::GoesBack,
            1 => Then::Dies(rng.below(3_000) as u64),
            _ => Then::Stands,
        };
        steps.insert(at, Step::Upgrade(then));
    }
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
    pair.count(&steps);
    pair.reset();
    let Err(mismatch) = pair.run(&steps) else { return Ok(()) };
    if mismatch.is_crash_of_reference() {
        // There is nothing to compare with. The next episode gets a fresh one.
        pair.count_crash();
        eprintln!(
            "family {family}, episode seed {seed}: Redis has stopped with a failed assertion"
        );
        return Ok(());
    }
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
