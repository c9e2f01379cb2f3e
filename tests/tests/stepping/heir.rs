//! Takes up a copy of an arena as a new generation does after a death, and plays on to the end.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use hotredis::check::check_arena;
use hotredis::config::ConfigValues;
use hotredis::executor::replies::Streams;
use hotredis::executor::turn::Served;
use hotredis::executor::{Action, Buffers, Carried, Death, Executor, Left, State, Stream};
use hotredis::generation::FINGERPRINT;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Whence, lseek};
use shm::Arena;

use crate::cast::Cast;

/// The content of an arena: what its file has of data, by position.
pub struct Image {
    length: u64,
    extents: Vec<(u64, Vec<u8>)>,
}

impl Image {
    /// Reads an arena whose owner stands still.
    pub fn of(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let (mut extents, mut at) = (Vec::new(), 0);
        loop {
            let start = match lseek(file, at, Whence::SeekData) {
                Ok(start) => start,
                Err(Errno::ENXIO) => return Ok(Self { length, extents }),
                Err(errno) => return Err(errno.into()),
            };
            at = lseek(file, start, Whence::SeekHole)?;
            let mut bytes = vec![0; (at - start) as usize];
            file.read_exact_at(&mut bytes, start as u64)?;
            extents.push((start as u64, bytes));
        }
    }

    /// Whether this still is the content of an arena. Most often it is: no memory is taken to see it.
    pub fn is_of(&self, file: &File) -> io::Result<bool> {
        let (mut at, mut piece) = (0, [0; 64 << 10]);
        for (start, bytes) in &self.extents {
            if lseek(file, at, Whence::SeekData) != Ok(*start as i64) {
                return Ok(false);
            }
            at = lseek(file, *start as i64, Whence::SeekHole)?;
            if (at as u64) != start + bytes.len() as u64 {
                return Ok(false);
            }
            for (number, due) in bytes.chunks(piece.len()).enumerate() {
                let found = &mut piece[..due.len()];
                file.read_exact_at(found, start + (number * (64 << 10)) as u64)?;
                if found != due {
                    return Ok(false);
                }
            }
        }
        Ok(lseek(file, at, Whence::SeekData) == Err(Errno::ENXIO))
    }

    /// A file of its own with this content, sealed as an arena is.
    fn to_file(&self) -> io::Result<OwnedFd> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"copy-of-an-arena", flags)?);
        file.set_len(self.length)?;
        for (at, bytes) in &self.extents {
            file.write_all_at(bytes, *at)?;
        }
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW))?;
        Ok(file.into())
    }
}

/// A client's connection, as the heir finds it.
pub struct Line {
    pub cookie: u64,
    /// How much of the requests the server has read.
    pub read: usize,
    /// How much of the replies the server has written.
    pub written: usize,
    /// All that the client has sent.
    pub requests: Vec<u8>,
    /// All that it must receive.
    pub replies: Vec<u8>,
}

impl Stream for Line {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.requests[self.read..];
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.read += length;
        Ok(length)
    }

    fn transmit(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.transmit_pieces(&[bytes])
    }

    fn transmit_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<usize> {
        let before = self.written;
        for piece in pieces {
            if !self.replies[self.written..].starts_with(piece) {
                let text = |bytes: &[u8]| bytes[..bytes.len().min(100)].escape_ascii().to_string();
                let (wrong, due) = (text(piece), text(&self.replies[self.written..]));
                panic!("its heir writes {wrong} at byte {}, and not {due}", self.written);
            }
            self.written += piece.len();
        }
        Ok(self.written - before)
    }

    fn carried(&self) -> Option<Carried> {
        Some(Carried { read: self.read as u64, written: self.written as u64 })
    }
}

/// All connections, by their slots.
struct Lines(Vec<(u32, Line)>);

impl Streams<Line> for Lines {
    fn stream(&mut self, slot: u32) -> Option<&mut Line> {
        self.0.iter_mut().find(|(other, _)| *other == slot).map(|(_, line)| line)
    }
}

/// Recovers a copy, plays its part to the end, and compares everything that clients receive, then and
/// before, with what they must.
///
/// # Errors
/// What is wrong.
pub fn prove(image: &Image, lines: Vec<Line>, cast: &Cast) -> Result<(), String> {
    let mut heir = Heir::of(image, lines)?;
    heir.checked("taken up")?;
    heir.play("at first")?;
    let rests =
        (0..cast.players.len()).map(|client| (client, cast.rest(client), cast.replies(client).1));
    let finale =
        cast.play.finale.iter().map(|(client, request, reply)| (*client, &request[..], &reply[..]));
    for (client, request, reply) in rests.chain(finale) {
        let line = &mut heir.lines.0[client].1;
        line.requests.extend_from_slice(request);
        line.replies.extend_from_slice(reply);
        heir.play("in the end")?;
    }
    heir.checked("at the end")
}

struct Heir {
    executor: Executor,
    lines: Lines,
}

impl Heir {
    fn of(image: &Image, lines: Vec<Line>) -> Result<Self, String> {
        let file = image.to_file().map_err(|error| format!("the copy: {error}"))?;
        let mut arena = Arena::from_fd(file, FINGERPRINT).map_err(|error| error.to_string())?;
        let buffers = Buffers::take(&mut arena).map_err(|error| error.to_string())?;
        arena.recover();
        let mut state = State::new(ConfigValues::default(), 2, 1);
        state.apply_config();
        state.read_clock();
        let executor = Executor::new(arena, buffers, state);
        let mut by_slot = Vec::new();
        for line in lines {
            let slot = (0..executor.capacity()).find(|s| executor.cookie(*s) == Some(line.cookie));
            by_slot.push((slot.ok_or("a session has gone")?, line));
        }
        let mut heir = Self { executor, lines: Lines(by_slot) };
        let left = Left::Died(Death { own: false, cause: "killed by SIGKILL".into() });
        match heir.executor.recover(&mut heir.lines, &left) {
            Ok(None) => Ok(heir),
            Ok(Some(slot)) => Err(format!("the session in slot {slot} stays in doubt")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn checked(&self, when: &str) -> Result<(), String> {
        let report = check_arena(&self.executor.arena);
        if report.clean { Ok(()) } else { Err(format!("{when}: {}", report.text)) }
    }

    /// Everybody's turns, until nobody has anything to do; then everything must be said.
    fn play(&mut self, when: &str) -> Result<(), String> {
        let slots: Vec<u32> = self.lines.0.iter().map(|(slot, _)| *slot).collect();
        let mut busy = true;
        while busy {
            busy = false;
            for slot in &slots {
                busy |= self.flush(*slot)?;
                busy |= self.turn(*slot)?;
            }
        }
        for (client, (_, line)) in self.lines.0.iter().enumerate() {
            let (replies, requests) = (line.replies.len(), line.requests.len());
            if (line.written, line.read) != (replies, requests) {
                return Err(format!(
                    "{when}: client {client} has {} of {replies} bytes of replies, and {} of {requests} \
                     bytes of its requests were read",
                    line.written, line.read
                ));
            }
        }
        Ok(())
    }

    /// What a session has unsent; says whether there was anything.
    fn flush(&mut self, slot: u32) -> Result<bool, String> {
        if !self.executor.has_output(slot) {
            return Ok(false);
        }
        let line = self.lines.stream(slot).ok_or("nobody is there to write to")?;
        self.executor.flush_pending(slot, line);
        Ok(true)
    }

    /// A client's turn; says whether anything came of it.
    fn turn(&mut self, slot: u32) -> Result<bool, String> {
        let line = self.lines.stream(slot).ok_or("nobody is there to read from")?;
        let read = line.read;
        let went_on = self.executor.has_to_go_on(slot);
        let served = self.executor.serve(slot, line);
        let mut busy = went_on || line.read != read;
        self.executor.write_replies(&mut self.lines, &mut Vec::new());
        for action in self.executor.take_actions() {
            busy = true;
            match action {
                Action::Flush(other) => drop(self.flush(other)?),
                Action::Resume(_) => {}
                other => return Err(format!("nobody has asked for {other:?}")),
            }
        }
        match served {
            Served::Drained | Served::More | Served::LookAt { .. } => Ok(busy),
            other => Err(format!("the turn of slot {slot} ends with {other:?}")),
        }
    }
}
