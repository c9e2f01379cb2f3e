//! Private loopback ports for servers under test.
//!
//! Asking the kernel for a free port and closing it again leaves a gap in which anybody can take
//! it, most likely another test. So ports come from below the ephemeral range (no outgoing
//! connection lands there), and each is held by a lock on a file that all test processes of this
//! machine share, for as long as the server lives.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};

use crate::rng::Rng;

const FIRST: u16 = 20_000;
const COUNT: usize = 12_000;

/// A port nobody else uses while this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Held for its lock.
    _lock: Flock<File>,
}

impl Port {
    /// Reserves a port that nothing listens on.
    ///
    /// # Panics
    /// If none can be found in a thousand tries.
    pub fn reserve() -> Self {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let clock = clock.map(|d| d.as_nanos() as u64).unwrap_or(0);
        let mut rng = Rng::new(clock ^ (u64::from(std::process::id()) << 32));
        (0..1000)
            .find_map(|_| Self::try_take(FIRST + rng.below(COUNT) as u16))
            .expect("no free port between 20000 and 32000 in a thousand tries")
    }

    fn try_take(number: u16) -> Option<Self> {
        let dir: PathBuf = std::env::temp_dir().join("hotredis-test-ports");
        std::fs::create_dir_all(&dir).ok()?;
        let path = dir.join(number.to_string());
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).ok()?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
        // Both families: a server under test may be told to listen on both.
        TcpListener::bind(("127.0.0.1", number)).ok()?;
        TcpListener::bind(("::1", number)).ok()?;
        Some(Self { number, _lock: lock })
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_given_to_nobody_else() {
        let port = Port::reserve();
        assert!(Port::try_take(port.number()).is_none());
        let number = port.number();
        drop(port);
        assert!(Port::try_take(number).is_some());
    }
}
