//! No command and no option goes untried: whatever `COMMAND DOCS` knows is made by some generator of
//! the differential test. That it succeeds, and that every encoding is seen, is asked where the
//! servers are driven (`differential.rs`).

use hotredis_tests::coverage::Coverage;
use hotredis_tests::differential::{Command, Step};
use hotredis_tests::generate::{FAMILIES, Family, episode_from, generator};

/// Episodes of each family.
const EPISODES: u64 = 24;

/// Steps of each episode.
const STEPS: usize = 500;

/// What no generator makes, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Notes what an episode would send. Nothing is damaged in it, so what stands in a command is meant.
fn note(coverage: &mut Coverage, family: Family, steps: &[Step]) {
    let mut note = |words: &[&[u8]]| match family {
        // Options that stand there by chance are nothing that a command is tried with.
        Family::Arity => coverage.note_name(words),
        _ => coverage.note(words),
    };
    for step in steps {
        match step {
            Step::Send { commands, .. } => {
                commands.iter().map(Command::words).for_each(|words| note(&words));
            }
            Step::Scan { options, .. } => {
                let words = [&b"SCAN"[..], b"0"].into_iter();
                note(&words.chain(options.iter().map(Vec::as_slice)).collect::<Vec<_>>());
            }
            _ => {}
        }
    }
}

#[test]
fn every_command_and_option_is_made_by_some_generator() {
    let mut coverage = Coverage::default();
    for (family, _) in FAMILIES {
        // It consists of the others.
        if family == Family::Mixed {
            continue;
        }
        for seed in 0..EPISODES {
            let mut generator = generator(family, seed);
            generator.sound = true;
            note(&mut coverage, family, &episode_from(&mut generator, family, STEPS));
        }
    }
    let missing = coverage.missing(|_, _| true, EXCEPTIONS);
    assert!(missing.is_empty(), "no generator makes: {}", missing.join(", "));
    let needless: Vec<_> = {
        let missing = coverage.missing(|_, _| true, &[]);
        let known = |(name, _): &&(&str, &str)| !missing.iter().any(|one| one == name);
        EXCEPTIONS.iter().filter(known).collect()
    };
    assert!(needless.is_empty(), "exceptions that are none: {needless:?}");
}
