//! What the connection that listens to keyspace events hears.
//!
//! The order of events is part of what is compared, but for one thing: commands that meet keys in
//! the order of a hash table (SCAN, RANDOMKEY) meet expired keys in another order on each server, or
//! one server sooner than the other. Expiries that such commands cause are gathered until both
//! servers have been made to look at every key.

use super::side::Event;
use crate::value::Value;

/// Expiries that were heard of, and not compared yet.
#[derive(Debug, Default)]
pub struct Heard {
    theirs: Vec<Event>,
    ours: Vec<Event>,
}

impl Heard {
    /// Notes what was heard in a step; says whether it is the same but for expiries.
    pub fn hear(&mut self, theirs: &[Event], ours: &[Event]) -> bool {
        if theirs == ours {
            return true;
        }
        let split = |events: &[Event]| -> (Vec<Event>, Vec<Event>) {
            events.iter().cloned().partition(is_expiry)
        };
        let ((expired, theirs), (also_expired, ours)) = (split(theirs), split(ours));
        self.theirs.extend(expired);
        self.ours.extend(also_expired);
        theirs == ours
    }

    /// Compares the expiries: now both servers have met all of them.
    ///
    /// # Errors
    /// If they differ, in words.
    pub fn settle(&mut self) -> Result<(), String> {
        let sorted = |events: &mut Vec<Event>| {
            let mut events: Vec<String> = events.drain(..).map(|e| format!("{e:?}")).collect();
            events.sort();
            events
        };
        let (theirs, ours) = (sorted(&mut self.theirs), sorted(&mut self.ours));
        if theirs == ours {
            return Ok(());
        }
        Err(format!("expiries were told of\n  Redis:     {theirs:?}\n  candidate: {ours:?}"))
    }
}

/// Whether this is the message about a key that has expired, to its channel or to that of the event.
fn is_expiry(event: &Event) -> bool {
    let Event::Value(Value::Array(parts) | Value::Push(parts)) = event else { return false };
    let [_, _, Value::Bulk(channel), Value::Bulk(message)] = parts.as_slice() else { return false };
    let of_event = channel.starts_with(b"__keyevent@") && channel.ends_with(b"__:expired");
    of_event || (channel.starts_with(b"__keyspace@") && message == b"expired")
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
}
