//! A timer that a poll watches, in place of a timeout for each wait.
//!
//! A timeout has the kernel set a timer before it puts the thread to sleep, and stop it when a client has woken it:
//! a tenth of what a request costs that comes alone. This one stays set until it rings, which is some ten times a second
//! however many requests come.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The timer.
pub struct Alarm {
    timer: TimerFd,
    /// When it rings, or rang, in microseconds of the monotonic clock; 0 if it was never set.
    at_us: u64,
}

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// If the system has no descriptor for it.
    pub fn new() -> io::Result<Alarm> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Alarm { timer: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?, at_us: 0 })
    }

    /// Has it ring at a time, or before: one that is set to an earlier time is left alone, since who is woken for
    /// nothing sets it again. Times are microseconds of the monotonic clock.
    ///
    /// # Errors
    /// If the system does not set it.
    #[inline]
    pub fn ring_by(&mut self, now_us: u64, at_us: u64) -> io::Result<()> {
        if self.at_us > now_us && self.at_us <= at_us {
            return Ok(());
        }
        self.set(at_us)
    }

    #[cold]
    fn set(&mut self, at_us: u64) -> io::Result<()> {
        // A time of 0 would stop it; any other that is past has it ring at once.
        let at = TimeSpec::from_duration(Duration::from_micros(at_us.max(1)));
        self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.at_us = at_us;
        Ok(())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::util::time::monotonic_us;

    fn rings_within(alarm: &Alarm, milliseconds: u16) -> bool {
        let mut fds = [PollFd::new(alarm.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(milliseconds)).unwrap() > 0
    }

    #[test]
    fn it_rings_by_the_time_it_was_last_set_to() {
        let mut alarm = Alarm::new().unwrap();
        let start = monotonic_us();
        let hour = start + 3_600_000_000;
        alarm.ring_by(start, hour).unwrap();
        assert!(!rings_within(&alarm, 0));
        alarm.ring_by(start, start + 5_000).unwrap();
        assert!(rings_within(&alarm, 60_000));
        assert!(monotonic_us() >= start + 5_000);
        // It has rung, and is wanted later.
        let now = monotonic_us();
        alarm.ring_by(now, hour).unwrap();
        assert!(!rings_within(&alarm, 0));
        // A past time.
        alarm.ring_by(now, 0).unwrap();
        assert!(rings_within(&alarm, 60_000));
    }

    #[test]
    fn a_later_time_leaves_it_as_it_is() {
        let mut alarm = Alarm::new().unwrap();
        let now = monotonic_us();
        alarm.ring_by(now, now + 5_000).unwrap();
        alarm.ring_by(now, now + 3_600_000_000).unwrap();
        assert!(rings_within(&alarm, 60_000));
    }
}
