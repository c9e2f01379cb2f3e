//! Fail points: the places of the protocol at which a test has a process fail on purpose. In builds
//! with debug assertions only; in others [`here`] is nothing.
//!
//! The file that the environment variable `HOTREDIS_FAILPOINT` names says `POINT=FAILURE`, say
//! `successor.ready=hang`. Points are named `SIDE.STEP`. Whoever comes to that point
//! removes the file and fails, once, so that the next attempt finds nothing in its way. For the same
//! reason a shortage lasts for [`SHORTAGE`] only: a process may outlive it, and serve.

#[cfg(debug_assertions)]
use std::os::fd::{AsFd, AsRawFd};

use crate::link::Link;

/// A process comes to a point at which it may have to fail.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn here(_point: &str, _link: &Link) {}

/// A process comes to a point at which it may have to fail.
#[cfg(debug_assertions)]
pub fn here(point: &str, link: &Link) {
    let Some(file) = std::env::var_os("HOTREDIS_FAILPOINT") else { return };
    let Ok(text) = std::fs::read_to_string(&file) else { return };
    let Some((wanted, failure)) = text.trim().split_once('=') else { return };
    // Removing it is what decides between two that come at once.
    if wanted == point && std::fs::remove_file(&file).is_ok() {
        tracing::warn!(point, failure, "failing on purpose");
        fail(failure, link);
    }
}

#[cfg(debug_assertions)]
fn fail(failure: &str, link: &Link) {
    use nix::sys::signal::{Signal, raise};
    let failed = match failure {
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        "panic" => panic!("failing on purpose"),
        "kill" => raise(Signal::SIGKILL),
        "hang" => loop {
            std::thread::park();
        },
        "stop" => raise(Signal::SIGSTOP),
        "rubbish" => send_raw(link, b"HRHO\x01\xffxx", 0),
        "too-long" => send_raw(link, &vec![b'x'; 2 * crate::wire::MAX_MESSAGE_BYTES], 0),
        "too-many-descriptors" => send_raw(link, b"x", crate::fds::MAX_FDS_PER_MESSAGE + 1),
        "no-descriptors" => run_out_of_descriptors(),
        "no-memory" => run_out_of_memory(),
        other => panic!("no such failure: {other}"),
    };
    if let Err(error) = failed {
        tracing::warn!(failure, %error, "could not fail as was wanted");
    }
}

/// How long a process goes without what it has run out of: longer than a step takes, shorter than the
/// probation of the tests.
#[cfg(debug_assertions)]
const SHORTAGE: std::time::Duration = std::time::Duration::from_millis(250);

/// Opens as many descriptors as there may be. Both limits are set to what they are filled up to, so that
/// nobody makes room by raising one.
#[cfg(debug_assertions)]
fn run_out_of_descriptors() -> nix::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let not_open = |_| nix::errno::Errno::EIO;
    let null = std::fs::File::open("/dev/null").map_err(not_open)?;
    let open = crate::rlimit::open_descriptors().map_err(not_open)?;
    let limit = getrlimit(Resource::RLIMIT_NOFILE)?.0.min(open + 256);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?;
    let filling: Vec<_> = std::iter::from_fn(|| null.try_clone().ok()).collect();
    after_the_shortage(move || drop(filling));
    Ok(())
}

#[cfg(debug_assertions)]
fn run_out_of_memory() -> nix::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS)?;
    after_the_shortage(move || {
        let _ = setrlimit(Resource::RLIMIT_AS, soft, hard);
    });
    setrlimit(Resource::RLIMIT_AS, 0, hard)
}

#[cfg(debug_assertions)]
fn after_the_shortage(end: impl FnOnce() + Send + 'static) {
    let (started, start) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = started.send(());
        std::thread::sleep(SHORTAGE);
        end();
    });
    // A thread that begins needs memory itself.
    let _ = start.recv();
}

#[cfg(debug_assertions)]
fn send_raw(link: &Link, bytes: &[u8], descriptors: usize) -> nix::Result<()> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let fds = vec![link.as_fd().as_raw_fd(); descriptors];
    let rights = [ControlMessage::ScmRights(&fds)];
    let rights = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    let bytes = [std::io::IoSlice::new(bytes)];
    sendmsg::<()>(link.as_raw_fd(), &bytes, rights, MsgFlags::MSG_NOSIGNAL, None).map(|_| ())
}
