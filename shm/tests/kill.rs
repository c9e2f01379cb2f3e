//! Death by SIGKILL at random moments, thousands of times, each survived.

#[path = "common/world.rs"]
mod world;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use shm::{Arena, Options};
use world::{Model, Op, Random};

fn op(seed: u64, number: u64) -> Op {
    let mut random = Random(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    world::random_op(&mut random, 20_000, 0)
}

/// Lets a child run operations from `first` on until it is killed after `life`.
fn run_and_kill(arena: &mut Arena, seed: u64, first: u64, life: Duration) {
    // SAFETY: the child runs only this crate's code, which takes no lock that another thread of the
    // parent may have held, and never returns.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            let run = || {
                for number in first.. {
                    let _ = world::run(arena, &op(seed, number), number, None);
                }
            };
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            // SAFETY: ends the process without the parent's exit handlers.
            unsafe { libc::_exit(3) }
        }
        ForkResult::Parent { child } => {
            let begun = Instant::now();
            while begun.elapsed() < life {
                std::hint::spin_loop();
            }
            kill(child, Signal::SIGKILL).expect("kill");
            let status = waitpid(child, None).expect("waitpid");
            assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{status:?}");
        }
    }
}

#[test]
fn a_killed_owner_loses_nothing_and_leaves_nothing_half_done() {
    let times = std::env::var("HOTREDIS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let (seed, options) = (11, Options { reserve: 0, ..Options::default() });
    let mut arena = world::new_world(&options);
    let mut reference = world::new_world(&options);
    let mut model = Model::default();
    let mut random = Random(seed);
    let (mut done, mut amid, begun) = (0, 0, Instant::now());
    for kill in 0..times {
        run_and_kill(&mut arena, seed, done + 1, Duration::from_micros(random.below(900)));
        amid += u64::from(arena.read(shm::header::LOG.cast::<shm::U64>()).to_native() << 2 != 0);
        arena.recover();
        let now = arena.payload()[0];
        assert!(now >= done, "kill {kill}: {done} transactions, and then {now}");
        for number in done + 1..=now {
            let _ = world::run(&mut reference, &op(seed, number), number, Some(&mut model));
        }
        done = now;
        match world::read(&arena) {
            Ok(found) => assert!(found == model, "kill {kill}: not what {done} transactions make"),
            Err(why) => panic!("kill {kill}, after {done} transactions: {why}"),
        }
    }
    println!("{times} kills, {amid} amid a transaction, {done} done, in {:?}", begun.elapsed());
    assert!(amid > times / 100, "only {amid} of {times} kills hit a transaction");
}
