//! What the servers sent in a step, gathered and compared.
//!
//! First a glance at both servers at the same time: each answers twice on its control connection, so
//! that whatever the step has made it send is there. Only if what is there differs, or cannot be all,
//! they are looked at one after the other until nothing comes any more.

use super::mask::{self, Mask, same_events};
use super::run::{LISTENER, Pair, Queued, REFERENCE, failed};
use super::side::{Event, Names, Observation};
use crate::value::Value;

/// Requests of more bytes than this may take a server several rounds of its loop.
const LONG_REQUEST: usize = 8 * 1024;

/// What one connection showed in a step, on both sides.
pub(super) struct Seen {
    pub theirs: Vec<Event>,
    pub ours: Vec<Event>,
}

impl Pair {
    /// Gathers what both servers sent to all connections and compares; what connection `n`
    /// showed.
    pub(super) fn observe(&mut self, n: usize, masks: &[Mask]) -> Result<Seen, String> {
        let loosely = masks.iter().any(|mask| *mask != Mask::Exact);
        self.observe_with(n, loosely, |a, b, names| same_events(masks, a, b, names))
    }

    /// As `observe`, for a lone EXEC of commands with these masks.
    pub(super) fn observe_exec(&mut self, n: usize, queued: &Queued) -> Result<Seen, String> {
        let queued: &[Mask] = if queued.lost { &mask::LENIENT } else { &queued.masks };
        let lost = queued == mask::LENIENT;
        self.observe_with(n, true, |a, b, names| {
            let (mut a, mut b) = (flattened(a), flattened(b));
            // Messages that the connection sends itself, several confirmations of a SUBSCRIBE:
            // they spill over the end of the array. Then any of the masks may be meant.
            let associated = !lost && a.len() == queued.len();
            if !associated {
                let (x, rest) = mask::without_unsubscribed(&mask::in_order(&a));
                let (y, other) = mask::without_unsubscribed(&mask::in_order(&b));
                if x != y {
                    return false;
                }
                (a, b) = (rest, other);
            }
            a.len() == b.len()
                && a.iter().zip(&b).enumerate().all(|(i, (a, b))| {
                    let masks = if associated { &queued[i..=i] } else { queued };
                    let (a, b) = (std::slice::from_ref(a), std::slice::from_ref(b));
                    masks.iter().any(|mask| same_events(&[*mask], a, b, names))
                })
        })
    }

    /// `loosely`: what expired may have been met in any order, or not yet.
    fn observe_with(
        &mut self,
        n: usize,
        loosely: bool,
        same: impl Fn(&[Event], &[Event], (&Names, &Names)) -> bool,
    ) -> Result<Seen, String> {
        let long = std::mem::take(&mut self.sent) > LONG_REQUEST;
        let (mut theirs, mut ours) = (Observation::default(), Observation::default());
        let whole = self.glance(&mut theirs, &mut ours)?;
        let oracle = self.oracle.as_mut().expect("reset has started both");
        let candidate = self.candidate.as_mut().expect("reset has started both");
        let names = (&oracle.names, &candidate.names);
        let alike = |c: usize, a: &[Event], b: &[Event], names: (&Names, &Names)| match c == n {
            true => same(a, b, names),
            false => same_events(&[], a, b, names),
        };
        let pairs = theirs.events.iter().zip(&ours.events).enumerate();
        let equal = |(c, (a, b)): (usize, (&Vec<Event>, &Vec<Event>))| {
            if c == LISTENER && loosely { a == b } else { alike(c, a, b, names) }
        };
        if !whole || long || !pairs.into_iter().all(equal) {
            // One of them may just not be done yet.
            oracle.settle(&[], &mut theirs).map_err(|e| failed(REFERENCE, oracle, &e))?;
            let counts: Vec<usize> = theirs.events.iter().map(Vec::len).collect();
            let done = candidate.settle(&counts, &mut ours);
            done.map_err(|e| failed("the candidate", candidate, &e))?;
            let names = (&oracle.names, &candidate.names);
            for (c, (a, b)) in theirs.events.iter().zip(&ours.events).enumerate() {
                let equal = match c == LISTENER && loosely {
                    true => self.expired.hear(a, b),
                    false => alike(c, a, b, names),
                };
                if !equal {
                    return Err(format!("c{c} received{}", shown(a, b)));
                }
            }
        }
        if theirs.control_lost != ours.control_lost {
            let (a, b) = (theirs.control_lost, ours.control_lost);
            return Err(format!("the control connection was closed: Redis {a}, candidate {b}"));
        }
        self.reopen_closed()?;
        Ok(Seen { theirs: theirs.events[n].clone(), ours: ours.events[n].clone() })
    }

    /// Has both servers come round twice, at the same time, and gathers what came of it; whether it
    /// looks like all there is.
    fn glance(&mut self, theirs: &mut Observation, ours: &mut Observation) -> Result<bool, String> {
        let (oracle, candidate) = self.sides();
        for _ in 0..2 {
            oracle.ask();
            candidate.ask();
            let lost = oracle.answered().map_err(|e| failed(REFERENCE, oracle, &e))?;
            theirs.control_lost |= lost;
            let lost = candidate.answered().map_err(|e| failed("the candidate", candidate, &e))?;
            ours.control_lost |= lost;
        }
        let whole = [oracle.gather(theirs), candidate.gather(ours)];
        Ok(whole == [true, true] && theirs.control_lost == ours.control_lost)
    }

    /// Opens the connections again that the servers have closed.
    pub(super) fn reopen_closed(&mut self) -> Result<(), String> {
        for c in 0..self.sides().0.count() {
            if self.sides().0.closed(c) {
                // Dropped is a connection that has just been accepted when its generation dies.
                self.await_return()?;
                let (oracle, candidate) = self.sides();
                oracle.open(c).map_err(|e| failed(REFERENCE, oracle, &e))?;
                candidate.open(c).map_err(|e| failed("the candidate", candidate, &e))?;
                self.queued[c] = Queued::default();
                if c == LISTENER {
                    self.subscribe_listener();
                }
            }
        }
        Ok(())
    }
}

/// The replies inside EXEC's, where it has any.
fn flattened(events: &[Event]) -> Vec<Event> {
    let inside = |event: &Event| match event {
        Event::Value(Value::Array(v)) => v.iter().cloned().map(Event::Value).collect(),
        other => vec![other.clone()],
    };
    let [first, rest @ ..] = events else { return Vec::new() };
    inside(first).into_iter().chain(rest.iter().cloned()).collect()
}

fn shown(a: &[Event], b: &[Event]) -> String {
    let list = |events: &[Event]| -> String {
        let lines: Vec<String> = events.iter().map(|e| format!("\n    {e:?}")).collect();
        if lines.is_empty() { "\n    nothing".into() } else { lines.concat() }
    };
    format!("\n  from Redis:{}\n  from the candidate:{}", list(a), list(b))
}
