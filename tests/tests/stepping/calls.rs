//! Deaths before and after each system call that moves bytes, or connections.

use std::sync::atomic::{AtomicBool, Ordering};

use hotredis_tests::client::Endpoint;
use hotredis_tests::server::Server;

use crate::cast::Act;
use crate::tracee::{Stop, Tracee};

/// What moves bytes, accepts, and ends connections.
const CALLS: [i64; 12] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_close,
];

/// More than any act has.
const MOST: usize = 2_000;

/// Has an act played over and over, each time with a death at the next place, until it has no such place
/// any more. Gives the number of deaths.
///
/// # Panics
/// If a client hears something else than it must.
pub fn walk(server: &Server, prepare: &dyn Fn(&Endpoint) -> Act) -> usize {
    let mut killed = None;
    for place in 0..MOST {
        let act = prepare(server.endpoint());
        let tracee = Tracee::of(server, &mut killed);
        match die_at(place, tracee, act) {
            Ok(Some(pid)) => killed = Some(pid),
            Ok(None) => return place,
            Err(why) => panic!("dead at place {place}: {why}"),
        }
    }
    panic!("there is no end of system calls");
}

/// Gives the pid of who has died; nobody has if the act was over before.
fn die_at(place: usize, mut tracee: Tracee, act: Act) -> Result<Option<u32>, String> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let played = scope.spawn(|| {
            let result = act();
            over.store(true, Ordering::Release);
            result
        });
        let mut places = 0;
        let died = loop {
            match tracee.go_to_call()? {
                // Whoever serves wakes up ten times a second even if nobody comes.
                _ if over.load(Ordering::Acquire) => {
                    tracee.release();
                    break None;
                }
                Stop::Entry(call) | Stop::Exit(call) if CALLS.contains(&call) => {
                    if places == place {
                        let pid = tracee.pid();
                        tracee.kill();
                        break Some((pid, call));
                    }
                    places += 1;
                }
                _ => {}
            }
        };
        let played = played.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let name = |call| format!("system call {call}");
        played.map_err(|why| {
            format!("{}: {why}", died.map_or("nowhere".into(), |(_, it)| name(it)))
        })?;
        Ok(died.map(|(pid, _)| pid))
    })
}
