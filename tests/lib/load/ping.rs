//! A ping-pong between two processes that have nothing else to do: what the machine does to any two
//! processes that wake each other, for comparison with a freeze, which is little else.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;

/// From one ping to the next: many for each upgrade, few enough to cost nothing.
const PAUSE: Duration = Duration::from_millis(5);

/// One round: a byte there and back again, and a process woken for each.
#[derive(Debug, Clone, Copy)]
pub struct Ping {
    /// When it was sent.
    pub at: Instant,
    /// How long it took, in microseconds.
    pub us: u64,
}

/// A ping-pong at work: a thread of this process, and a process that echoes.
#[derive(Debug)]
pub struct PingPong {
    stop: Arc<AtomicBool>,
    pings: JoinHandle<std::io::Result<Vec<Ping>>>,
    echo: Child,
}

impl PingPong {
    /// Begins.
    ///
    /// # Errors
    /// If there is no `cat`, which is the process that echoes.
    pub fn start() -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let echo = Command::new("cat")
            .stdin(OwnedFd::from(theirs.try_clone()?))
            .stdout(OwnedFd::from(theirs))
            .stderr(Stdio::null())
            .spawn()
            .context("starting cat, for the ping-pong")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let pings = std::thread::spawn(move || play(ours, &stopped));
        Ok(Self { stop, pings, echo })
    }

    /// Ends, and says how long each round took.
    ///
    /// # Errors
    /// If the process that echoes has ended.
    pub fn finish(mut self) -> anyhow::Result<Vec<Ping>> {
        self.stop.store(true, Ordering::Relaxed);
        let pings = self.pings.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Its end of the pair has gone with the thread, so it ends by itself.
        self.echo.wait()?;
        pings.context("the ping-pong")
    }
}

fn play(mut stream: UnixStream, stop: &AtomicBool) -> std::io::Result<Vec<Ping>> {
    let mut pings = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(PAUSE);
        let at = Instant::now();
        stream.write_all(b".")?;
        stream.read_exact(&mut [0])?;
        pings.push(Ping { at, us: at.elapsed().as_micros() as u64 });
    }
    Ok(pings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ping_comes_back() {
        let begun = Instant::now();
        let game = PingPong::start().unwrap();
        std::thread::sleep(PAUSE * 10);
        let pings = game.finish().unwrap();
        assert!(!pings.is_empty());
        assert!(pings.iter().all(|ping| ping.at > begun), "{pings:?}");
        assert!(pings.iter().map(|ping| ping.us).sum::<u64>() < begun.elapsed().as_micros() as u64);
    }
}
