//! `CLIENT LIST`, `INFO` and `KILL`: sessions as clients see them.

use shm::{Off, View};

use crate::commands::table;
use crate::executor::{Action, Cx, Fail, Outcome, error};
use crate::proto::reply::Format;
use crate::root::Root;
use crate::session::{self, Session, cold, directory, flag, output};
use crate::util::numbers::string2ll;

/// The classes of clients that `TYPE` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Master,
    Replica,
    PubSub,
}

impl Kind {
    fn parse(word: &[u8]) -> Result<Kind, Fail> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"slave" | b"replica" => Ok(Kind::Replica),
            b"pubsub" => Ok(Kind::PubSub),
            b"master" => Ok(Kind::Master),
            _ => Err(super::quoting("ERR Unknown client type '", word, "'")),
        }
    }

    fn of(record: &Session) -> Kind {
        if record.is(flag::SUBSCRIBER) { Kind::PubSub } else { Kind::Normal }
    }
}

/// All sessions that are not about to be closed, oldest first.
pub fn sessions(view: &View, root: Off<Root>) -> Vec<Off<Session>> {
    let mut found = Vec::new();
    directory::for_each(view, root, |session| {
        if !view.get(session).is(flag::CLOSE_ASAP) {
            found.push(session);
        }
    });
    found.sort_unstable_by_key(|session| view.get(*session).id.to_native());
    found
}

/// `CLIENT LIST [TYPE type] [ID id ...]`.
pub fn list(cx: &mut Cx<'_>) -> Outcome {
    let mut chosen = sessions(&cx.tx, cx.root);
    if cx.args.len() == 4 && cx.args.is(2, "type") {
        let kind = Kind::parse(cx.arg(3))?;
        chosen.retain(|session| Kind::of(cx.tx.get(*session)) == kind);
    } else if cx.args.len() > 3 && cx.args.is(2, "id") {
        let ids: Option<Vec<i64>> = cx.args.from(3).map(string2ll).collect();
        let ids = ids.ok_or(Fail::from("ERR Invalid client ID"))?;
        let id_of = |session: &Off<Session>| cx.tx.get(*session).id.to_native() as i64;
        let with_id =
            |id: &i64| chosen.binary_search_by_key(id, id_of).ok().map(|position| chosen[position]);
        chosen = ids.iter().filter_map(with_id).collect();
    } else if cx.args.len() != 2 {
        return Err(error::SYNTAX);
    }
    let mut text = String::new();
    for session in chosen {
        describe(&mut text, cx, session);
        text.push('\n');
    }
    cx.reply.verbatim(Format::Text, text.as_bytes());
    Ok(())
}

/// `CLIENT INFO`.
pub fn info(cx: &mut Cx<'_>) -> Outcome {
    let mut text = String::new();
    describe(&mut text, cx, cx.session);
    text.push('\n');
    cx.reply.verbatim(Format::Text, text.as_bytes());
    Ok(())
}

/// The letters of a client's state.
fn letters(record: &Session) -> String {
    const LETTERS: [(u64, char); 11] = [
        (flag::MONITOR, 'O'),
        (flag::SUBSCRIBER, 'P'),
        (flag::MULTI, 'x'),
        (flag::POSTPONED | flag::BLOCKED, 'b'),
        (flag::TRACKING, 't'),
        (flag::TRACKING_BROKEN, 'R'),
        (flag::TRACKING_BCAST, 'B'),
        (flag::DIRTY_CAS, 'd'),
        (flag::CLOSE_AFTER_REPLY, 'c'),
        (flag::CLOSE_ASAP, 'A'),
        (flag::NO_EVICT, 'e'),
    ];
    let mut text = String::new();
    for (bit, letter) in LETTERS {
        if bit == flag::NO_EVICT && record.transport == session::UNIX {
            text.push('U');
        }
        if record.is(bit) {
            text.push(letter);
        }
    }
    if text.is_empty() {
        text.push('N');
    }
    text
}

/// One line of `CLIENT LIST`, without its end.
///
/// `fd` is the session's slot: the descriptor of its socket is another in every generation. Sizes
/// of buffers are those that the session takes in the arena.
fn describe(text: &mut String, cx: &Cx<'_>, session: Off<Session>) {
    use std::fmt::Write;
    let record = cx.tx.get(session);
    let cold = cold::load(&cx.tx, session);
    let own = session == cx.session;
    let seconds = |since: i64| cx.now_ms() / 1000 - since / 1000;
    let arguments: usize = if own { cx.args.from(0).map(<[u8]>::len).sum() } else { 0 };
    let pending = record.out_bytes.get().to_native();
    let buffered = record.input_len.get().to_native();
    let queued = record.queue_bytes.get().to_native();
    let last = table::by_name_hash(record.last_command.get().to_native());
    let multi = if record.is(flag::MULTI) { record.queue_len.get().to_native() as i64 } else { -1 };
    let redirect = if record.is(flag::TRACKING) {
        record.tracking_redirect.get().to_native() as i64
    } else {
        -1
    };
    // A `String` takes everything.
    let _ = write!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} \
         multi={multi} qbuf={buffered} qbuf-free=0 argv-mem={arguments} multi-mem={queued} rbs=0 rbp=0 \
         obl=0 oll={} omem={pending} tot-mem={} events={} cmd={} user=default redir={redirect} resp={}",
        record.id.to_native(),
        cold.peer,
        cold.local,
        record.slot.to_native(),
        String::from_utf8_lossy(&cold.name),
        seconds(record.created_ms.to_native()),
        seconds(record.active_ms.get().to_native()),
        letters(record),
        record.database.get().to_native(),
        record.channels.len.get().to_native(),
        record.patterns.len.get().to_native(),
        record.shard_channels.len.get().to_native(),
        output::pieces(&cx.tx, session, usize::MAX).len(),
        size_of::<Session>() as u64 + pending + u64::from(buffered) + queued,
        if pending > 0 { "rw" } else { "r" },
        last.map_or("NULL", |command| command.full_name),
        record.protocol.get(),
    );
}

/// Whom `CLIENT KILL` means.
#[derive(Default)]
struct Filter<'a> {
    address: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    kind: Option<Kind>,
    id: Option<u64>,
    skip_me: bool,
}

impl<'a> Filter<'a> {
    fn parse(cx: &Cx<'a>) -> Result<Filter<'a>, Fail> {
        if cx.args.len() == 3 {
            return Ok(Filter { address: Some(cx.arg(2)), ..Filter::default() });
        }
        let mut filter = Filter { skip_me: true, ..Filter::default() };
        let mut at = 2;
        while let Some(option) = cx.args.get(at) {
            let value = cx.args.get(at + 1).ok_or(error::SYNTAX)?;
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = string2ll(value).filter(|id| *id > 0);
                    let id = id.ok_or(Fail::from("ERR client-id should be greater than 0"))?;
                    filter.id = Some(id as u64);
                }
                b"type" => filter.kind = Some(Kind::parse(value)?),
                b"addr" => filter.address = Some(value),
                b"laddr" => filter.local = Some(value),
                b"user" if value != b"default" => {
                    return Err(super::quoting("ERR No such user '", value, "'"));
                }
                // There is one user, and every client is that one.
                b"user" => {}
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip_me = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip_me = false,
                _ => return Err(error::SYNTAX),
            }
            at += 2;
        }
        Ok(filter)
    }

    fn means(&self, view: &View, session: Off<Session>, own: bool) -> bool {
        let record = view.get(session);
        if (own && self.skip_me) || self.id.is_some_and(|id| id != record.id.to_native()) {
            return false;
        }
        if self.kind.is_some_and(|kind| kind != Kind::of(record)) {
            return false;
        }
        if self.address.is_none() && self.local.is_none() {
            return true;
        }
        let cold = cold::load(view, session);
        let same = |wanted: Option<&[u8]>, address: &str| {
            wanted.is_none_or(|wanted| wanted == address.as_bytes())
        };
        same(self.address, &cold.peer) && same(self.local, &cold.local)
    }
}

/// `CLIENT KILL`, in its old and its new form.
///
/// Who is killed leaves all indexes at once, in this transaction; its socket is closed behind it.
pub fn kill(cx: &mut Cx<'_>) -> Outcome {
    let filter = Filter::parse(cx)?;
    let mut chosen = sessions(&cx.tx, cx.root);
    chosen.retain(|session| filter.means(&cx.tx, *session, *session == cx.session));
    for &session in &chosen {
        if session == cx.session {
            session::change_flags(&mut cx.tx, session, 0, flag::CLOSE_AFTER_REPLY)?;
            continue;
        }
        session::leave_everything(&mut cx.tx, cx.state, cx.root, session)?;
        session::change_flags(&mut cx.tx, session, 0, flag::CLOSE_ASAP)?;
        let slot = cx.tx.get(session).slot.to_native();
        cx.after_commit(Action::Close(slot));
    }
    match (cx.args.len(), chosen.len()) {
        (3, 0) => return Err("ERR No such client".into()),
        (3, _) => cx.reply.ok(),
        (_, killed) => cx.reply.integer(killed as i64),
    }
    Ok(())
}
