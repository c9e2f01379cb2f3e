//! Subscribed: to channels, patterns and shard channels; and a stream of messages without a gap.

use std::sync::atomic::{AtomicBool, Ordering};

use hotredis_tests::blocked::upgrade;
use hotredis_tests::client::{Client, Endpoint};
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

use crate::cuts::Cuts;
use crate::stage::{SetWhenDropped, Stage};

const ALL_KINDS: &str = r#"
    s: SUBSCRIBE c@
    s: SUBSCRIBE d@
    s: PSUBSCRIBE [cd]@
    s: SSUBSCRIBE c@
    p: PUBLISH c@ 1
    s< 2
    p: SPUBLISH c@ 2
    s<
    p: PUBLISH d@ 3
    s< 2
    p: PUBLISH e@ 4
    p: PUBSUB NUMSUB c@ d@ e@
    p: PUBSUB SHARDNUMSUB c@
    s: UNSUBSCRIBE d@
    p: PUBLISH d@ 5
    s<
    s: GET k@
    s: PUNSUBSCRIBE
    s: SUNSUBSCRIBE
    s: PING
    s: UNSUBSCRIBE
    p: PUBLISH c@ 6
    s: SET k@ v
    s: PING
"#;

const IN_RESP3: &str = r#"
    s: HELLO 3
    s: SUBSCRIBE c@ d@
    s<
    s: SET k@ v
    p: PUBLISH c@ 1
    s: GET k@
    s<
    s: SSUBSCRIBE c@
    s: PSUBSCRIBE *@
    p: MULTI
    p: PUBLISH d@ 2
    p: SPUBLISH c@ 3
    p: EXEC
    s< 3
    s: RESET
    p: PUBLISH c@ 4
    s: PING
"#;

/// Messages that come while a request of the subscriber is half sent, and in a transaction.
const AMID_OTHER_THINGS: &str = r#"
    s: HELLO 3
    s: SUBSCRIBE c@
    s raw *2\r\n$3\r\nGET\r\n$3\r\n
    p: PUBLISH c@ 1
    s raw abc\r\n
    s< 2
    s: MULTI
    p: PUBLISH c@ 2
    s: PING
    s: PUBLISH c@ 3
    s: EXEC
    s< 2
    s> QUIT
    s ends
"#;

#[test]
fn subscribed() {
    Cuts::of(&[ALL_KINDS, IN_RESP3, AMID_OTHER_THINGS]).perform();
}

/// Upgrades in the course of a stream.
const UPGRADES: usize = 40;

/// Messages of the stream that may be on their way.
const IN_FLIGHT: u64 = 64;

/// Behind the last message.
const END: &str = "end";

struct Subscriber {
    client: Client,
    kind: &'static str,
}

impl Subscriber {
    fn new(endpoint: &Endpoint, resp3: bool, command: &str, channel: &str) -> Self {
        let mut client = Client::connect(endpoint);
        if resp3 {
            client.call(&["HELLO", "3"]);
        }
        client.call(&[command, channel]);
        let kind = match command {
            "SUBSCRIBE" => "message",
            "PSUBSCRIBE" => "pmessage",
            _ => "smessage",
        };
        Self { client, kind }
    }

    /// Reads to the end of the stream: messages with the numbers from 0, none missing, none twice.
    fn read(mut self) {
        let mut next = 0_u64;
        loop {
            let message = self.client.receive();
            let [kind, .., text] = message.elements() else { panic!("{message:?}") };
            assert_eq!(kind, &Value::bulk(self.kind));
            if text == &Value::bulk(END) {
                break;
            }
            assert_eq!(text, &Value::bulk(next.to_string()), "{next} messages so far");
            next += 1;
        }
        assert!(next > IN_FLIGHT, "only {next} messages");
    }
}

/// Publishes numbers until told to stop, each of which so many have to receive.
fn publish(endpoint: &Endpoint, command: &str, receivers: i64, stop: &AtomicBool) {
    let mut client = Client::connect(endpoint);
    let (mut sent, mut answered) = (0, 0);
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        if !stopping && sent < answered + IN_FLIGHT {
            client.send(&[command, "channel", &sent.to_string()]);
            sent += 1;
        } else if answered < sent {
            assert_eq!(client.receive(), Value::Integer(receivers), "message {answered}");
            answered += 1;
        } else {
            break;
        }
    }
    assert_eq!(client.call(&[command, "channel", END]), Value::Integer(receivers));
}

#[test]
fn a_stream_of_messages_has_no_gap() {
    let stage = Stage::new(Setup::hotredis(), &[]);
    let kinds = [("SUBSCRIBE", "channel"), ("PSUBSCRIBE", "chan*"), ("SSUBSCRIBE", "channel")];
    let mut subscribers = Vec::new();
    for (command, channel) in kinds {
        for endpoint in &stage.endpoints {
            for resp3 in [false, true] {
                subscribers.push(Subscriber::new(endpoint, resp3, command, channel));
            }
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _stop = SetWhenDropped(&stop);
            (0..UPGRADES).for_each(|count| upgrade(&stage.server, count));
        });
        scope.spawn(|| publish(&stage.endpoints[0], "PUBLISH", 8, &stop));
        scope.spawn(|| publish(&stage.endpoints[1], "SPUBLISH", 4, &stop));
        for subscriber in subscribers {
            scope.spawn(move || subscriber.read());
        }
    });
    stage.finish();
}

/// Megabytes of messages that nobody reads yet, with upgrades in between.
#[test]
fn a_subscriber_that_does_not_read_misses_nothing() {
    const ROUNDS: usize = 4;
    const MESSAGES: usize = 200;
    let stage = Stage::new(Setup::hotredis(), &[]);
    let mut subscribers = stage.endpoints.each_ref().map(Client::connect);
    for subscriber in &mut subscribers {
        subscriber.call(&["SUBSCRIBE", "channel"]);
    }
    let mut publisher = stage.control();
    let text = |number: usize| format!("{number} {}", "m".repeat(10_000 + number));
    for number in 0..ROUNDS * MESSAGES {
        if number % MESSAGES == MESSAGES / 2 {
            upgrade(&stage.server, number / MESSAGES);
        }
        assert_eq!(publisher.call(&["PUBLISH", "channel", &text(number)]), Value::Integer(2));
    }
    for (count, subscriber) in subscribers.iter_mut().enumerate() {
        for number in 0..ROUNDS * MESSAGES {
            if number == MESSAGES {
                upgrade(&stage.server, count);
            }
            let message = subscriber.receive();
            assert!(message.elements()[2] == Value::bulk(text(number)), "message {number}");
        }
    }
    drop((subscribers, publisher));
    stage.finish();
}
