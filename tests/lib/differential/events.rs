//! What the connection that listens to keyspace events hears.
//!
//! The order of events is part of what is compared, but for two things. Commands that meet keys in
//! the order of a hash table (SCAN, RANDOMKEY) meet expired keys in another order on each server, or
//! one server sooner than the other: expiries that such commands cause are gathered until both
//! servers have been made to look at every key. And commands that look up a key for each element of
//! a hash table (SORT) miss keys in another order, though the same ones.

use super::side::Event;
use crate::value::Value;

/// Expiries that were heard of, and not compared yet.
#[derive(Debug, Default)]
pub struct Heard {
    theirs: Vec<Event>,
    ours: Vec<Event>,
}

impl Heard {
    /// Notes what was heard in a step; says whether it is the same but for expiries and the order of
    /// keys that were missed.
    pub fn hear(&mut self, theirs: &[Event], ours: &[Event]) -> bool {
        if theirs == ours {
            return true;
        }
        let split = |events: &[Event]| -> (Vec<Event>, Vec<Event>) {
            events.iter().cloned().partition(|event| tells_of(event, "expired"))
        };
        let ((expired, theirs), (also_expired, ours)) = (split(theirs), split(ours));
        self.theirs.extend(expired);
        self.ours.extend(also_expired);
        let split = |events: Vec<Event>| -> (Vec<Event>, Vec<Event>) {
            events.into_iter().partition(|event| tells_of(event, "keymiss"))
        };
        let ((mut missed, theirs), (mut also_missed, ours)) = (split(theirs), split(ours));
        theirs == ours && sorted(&mut missed) == sorted(&mut also_missed)
    }

    /// Compares the expiries: now both servers have met all of them.
    ///
    /// # Errors
    /// If they differ, in words.
    pub fn settle(&mut self) -> Result<(), String> {
        let (theirs, ours) = (sorted(&mut self.theirs), sorted(&mut self.ours));
        if theirs == ours {
            return Ok(());
        }
        Err(format!("expiries were told of\n  Redis:     {theirs:?}\n  candidate: {ours:?}"))
    }
}

/// Takes events away, and gives their texts in order.
fn sorted(events: &mut Vec<Event>) -> Vec<String> {
    let mut events: Vec<String> = events.drain(..).map(|e| format!("{e:?}")).collect();
    events.sort();
    events
}

/// Whether this is the message that something (`expired`, say) befell a key, to the channel of the key
/// or to that of the event.
fn tells_of(event: &Event, what: &str) -> bool {
    let Event::Value(Value::Array(parts) | Value::Push(parts)) = event else { return false };
    let [_, _, Value::Bulk(channel), Value::Bulk(message)] = parts.as_slice() else { return false };
    let of_event = channel.starts_with(b"__keyevent@")
        && channel.strip_suffix(what.as_bytes()).is_some_and(|rest| rest.ends_with(b"__:"));
    of_event || (channel.starts_with(b"__keyspace@") && message == what.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(channel: &str, message: &str) -> Event {
        let words = ["pmessage", "__key*__:*", channel, message];
        Event::Value(Value::Array(words.iter().map(Value::bulk).collect()))
    }

    #[test]
    fn only_expiries_may_come_later() {
        let expired = event("__keyevent@0__:expired", "k");
        let (set, del) = (event("__keyspace@0__:a", "set"), event("__keyspace@0__:a", "del"));
        let mut heard = Heard::default();
        assert!(heard.hear(&[set.clone(), expired.clone()], std::slice::from_ref(&set)));
        assert!(heard.settle().is_err());
        assert!(heard.hear(&[set.clone(), expired.clone()], std::slice::from_ref(&set)));
        assert!(heard.hear(&[], &[expired]));
        assert!(heard.settle().is_ok());
        assert!(!heard.hear(&[set.clone(), del.clone()], &[del, set]));
    }

    #[test]
    fn only_misses_may_come_in_another_order() {
        let [a, b] = ["a", "b"].map(|key| event("__keyevent@0__:keymiss", key));
        let set = event("__keyspace@0__:a", "set");
        let mut heard = Heard::default();
        assert!(heard.hear(&[a.clone(), set.clone(), b.clone()], &[b.clone(), a.clone(), set]));
        assert!(!heard.hear(&[a.clone(), b.clone()], &[a.clone(), a.clone()]));
        assert!(!heard.hear(&[a], &[b]));
    }
}
