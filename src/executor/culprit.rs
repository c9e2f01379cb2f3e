//! Commands at fault: those in which processes die, and those whose handlers panic.
//!
//! A command in which a process has died of its own is run again, since it may have been innocent. If
//! the next process dies of its own in the same command, that is stopped: its client gets an
//! error and is closed. Which command it was stands in the arena ([`Suspect`]): whoever takes up what the
//! dead have left, in whichever process, counts on from there. A request is known by its client's id and
//! its place in all that the client has ever sent; so whatever succeeds is never the suspect again,
//! and nothing has to be noted while commands run.

use std::sync::atomic::Ordering;

use shm::{Off, OutOfMemory, Slot, Tx, U64, field, header};
use tracing::error;

use super::turn::{LARGEST_BULK, Turn, input_of};
use super::{Args, Executor, InFlight, dispatch};
use crate::commands::monitor;
use crate::commands::table::{self, Lookup};
use crate::proto::request::{Argv, Decoded, Decoder, Limits};
use crate::root::{HandoffState, Root, Suspect};
use crate::session::{cold, queue};
use crate::util::quote;

/// How the arena comes to be taken up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Its owner has given it back, or was killed because it was to go.
    ByOrder,
    /// The process that owned it has died.
    Died(Death),
    /// A handler has panicked in this very process, with this message.
    Panicked(String),
}

/// What is known of a death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The process died of its own doing, so that the command in which it did may be the reason.
    pub own: bool,
    /// Of what, for people; cut to [`CAUSE`] bytes.
    pub cause: String,
}

/// Bytes of a cause that are kept.
pub const CAUSE: usize = 32;

/// Processes that may die in one command.
const MAX_DEATHS: u64 = 2;

const STOPPED: &[u8] = b"ERR the command was stopped because two processes died in running it: it \
    had no effect, and its connection is closed";

const PANICKED: &str = "ERR internal error: the command was stopped, and had no effect";

/// Arguments of a command that the log shows, and bytes of each.
const SHOWN: (usize, usize) = (8, 64);

impl Executor {
    /// After a death: notes which command was being run, if the process died of its own. Once that is
    /// noted, nobody who takes up what was left counts it again.
    pub(super) fn note_suspect(&mut self, turn: Option<&Turn>, left: &Left) {
        let Left::Died(death) = left else { return };
        let word = self.arena.word(header::IN_FLIGHT).load(Ordering::Relaxed);
        if word & InFlight::MASK != InFlight::Execute as u64 {
            return;
        }
        if let Some(turn) = turn.filter(|turn| death.own && turn.position < turn.length) {
            let mut now = self.place_of(turn);
            let before = self.suspect();
            if (before.client, before.position) == (now.client, now.position) {
                now.deaths = before.deaths;
            }
            now.deaths = U64::from_native(now.deaths.to_native() + 1);
            let suspect = field!(self.handoff(), HandoffState.suspect);
            let payload = self.arena.payload();
            let mut tx = self.arena.begin();
            // It fits into the part of the log that is always there.
            let noted = tx.set(suspect, now);
            debug_assert!(noted.is_ok());
            tx.commit(&payload);
        }
        self.landed();
    }

    /// Answers the request at which the turn stands, if that is at fault, so that it is not run (again).
    pub(super) fn judge(&mut self, turn: &mut Turn, left: &Left) -> Result<(), OutOfMemory> {
        if turn.position == turn.length {
            return Ok(());
        }
        let at = turn.position;
        if let Left::Panicked(message) = left {
            // Before it is answered: then an `EXEC` has forgotten what was queued.
            error!("a command has panicked ({message}): {}", self.describe(turn, at));
            self.answer_panicked(turn)?;
            return self.count(field!(self.handoff(), HandoffState.panics));
        }
        let (now, suspect) = (self.place_of(turn), self.suspect());
        let same = (suspect.client, suspect.position) == (now.client, now.position);
        if same && suspect.deaths.to_native() >= MAX_DEATHS {
            self.refuse(turn, STOPPED)?;
            // Only now: who dies from here on leaves it stopped.
            self.count(field!(self.handoff(), HandoffState.poisoned))?;
            error!(
                "a command in which {MAX_DEATHS} processes died is not run again, and its client \
                 closed: {}",
                self.describe(turn, at)
            );
        }
        Ok(())
    }

    /// Replies with an error to the request whose handler panicked. The client stays, unless nobody can
    /// tell where its next request begins.
    fn answer_panicked(&mut self, turn: &mut Turn) -> Result<(), OutOfMemory> {
        let bytes = &input_of(&self.arena, &self.input, turn)[turn.position..turn.length];
        match Decoder::new().decode(bytes, &ANY, &mut self.argv) {
            Decoded::Complete { consumed } => {
                let answer = |cx: &mut super::Cx<'_>| dispatch::fail_panicked(cx, PANICKED);
                self.run_one(turn, consumed, answer).map(drop)
            }
            _ => self.refuse(turn, PANICKED.as_bytes()),
        }
    }

    /// Notes how long nobody served because of a death, microseconds.
    pub fn note_outage(&mut self, outage_us: u64) {
        let outage = field!(self.handoff(), HandoffState.crash_outage_us);
        // Without memory the number is that of the death before.
        let _ = self.arena.transact(|tx| tx.set(outage, U64::from_native(outage_us)));
    }

    /// The place of the request at which a turn stands, with no deaths.
    fn place_of(&self, turn: &Turn) -> Suspect {
        let record = self.arena.get(turn.session);
        let received = record.total_in.get().to_native() + turn.read_bytes;
        let position = received.saturating_sub((turn.length - turn.position) as u64);
        let (position, deaths) = (U64::from_native(position), U64::from_native(0));
        Suspect { client: record.id, position, deaths }
    }

    fn suspect(&self) -> Suspect {
        self.arena.get(self.root).handoff.suspect.get()
    }

    fn handoff(&self) -> Off<HandoffState> {
        field!(self.root, Root.handoff)
    }

    fn count(&mut self, counter: Off<Slot<U64>>) -> Result<(), OutOfMemory> {
        self.arena.transact(|tx| {
            let count = tx.get(counter).get().to_native() + 1;
            tx.set(counter, U64::from_native(count))
        })
    }

    /// The request that starts there, and whose it is, for the log.
    fn describe(&self, turn: &Turn, at: usize) -> String {
        let record = self.arena.get(turn.session);
        let peer = cold::load(&self.arena, turn.session).peer;
        let client = format!("client {} ({peer})", record.id.to_native());
        let bytes = &input_of(&self.arena, &self.input, turn)[at..turn.length];
        let mut argv = Argv::new();
        let Decoded::Complete { consumed } = Decoder::new().decode(bytes, &ANY, &mut argv) else {
            return format!("{client} had not sent a whole request");
        };
        let (source, ranges) = argv.parts(&bytes[..consumed]);
        let args = Args::new(source, ranges);
        let mut text = format!("{client} sent {}", shown(&args));
        if args.is(0, "exec") {
            let queued = queue::commands(&self.arena, turn.session);
            let names = queued.iter().map(|command| queue::name(&self.arena, *command).0);
            let names: Vec<_> = names.take(SHOWN.0).map(|name| quote::repr(cut(name))).collect();
            text.push_str(&format!(" of {}", names.join(" ")));
            if queued.len() > names.len() {
                text.push_str(&format!(" and {} more", queued.len() - names.len()));
            }
        }
        text
    }
}

/// Counts the death that was recovered from, in the transaction that ends the recovery.
pub(super) fn note_crash(tx: &mut Tx<'_>, root: Off<Root>, left: &Left) -> Result<(), OutOfMemory> {
    let Left::Died(death) = left else { return Ok(()) };
    let handoff = field!(root, Root.handoff);
    let crashes = tx.get(root).handoff.crashes.get().to_native() + 1;
    tx.set(field!(handoff, HandoffState.crashes), U64::from_native(crashes))?;
    let mut text = [0; CAUSE];
    let length = death.cause.len().min(CAUSE);
    text[..length].copy_from_slice(&death.cause.as_bytes()[..length]);
    tx.set(field!(handoff, HandoffState.crash_cause), text)
}

/// Limits of a request that was within its limits when it first ran.
const ANY: Limits = Limits { max_bulk_len: LARGEST_BULK, auth_required: false };

/// A command as the log shows it: a few arguments, the first bytes of each, no passwords.
fn shown(args: &Args<'_>) -> String {
    let most = SHOWN.0;
    let secret = match table::lookup(args.get(0).unwrap_or_default(), args.get(1)) {
        Lookup::Found(command) if command.full_name == "config|set" => (3..args.len()).collect(),
        Lookup::Found(command) => monitor::secrets(command, args),
        _ => Vec::new(),
    };
    let mut text = Vec::new();
    for (position, arg) in args.from(0).enumerate().take(most) {
        let hidden = secret.contains(&position);
        quote::repr_into(
            &mut text,
            match arg {
                _ if hidden => b"(redacted)",
                arg => cut(arg),
            },
        );
        if !hidden && arg.len() > cut(arg).len() {
            text.extend(b"...");
        }
        text.push(b' ');
    }
    if args.len() > most {
        text.extend(format!("and {} more", args.len() - most).into_bytes());
    }
    String::from_utf8_lossy(text.trim_ascii_end()).into_owned()
}

/// As much of an argument as the log shows.
fn cut(arg: &[u8]) -> &[u8] {
    &arg[..arg.len().min(SHOWN.1)]
}
