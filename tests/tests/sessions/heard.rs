//! What a client of a play has heard, as text that is the same for every performance: without what the
//! clock, the port or the performance makes different.

use std::collections::BTreeMap;

use hotredis_tests::value::Value;

/// Ids of connections by the names of the clients.
pub type Ids = BTreeMap<String, i64>;

/// Fields of a client's line in `CLIENT LIST` that say what its session is like.
const KEPT: [&str; 11] =
    ["name", "db", "sub", "psub", "ssub", "multi", "flags", "cmd", "user", "redir", "resp"];

/// A value as text.
pub fn shown(value: &Value, tag: &str, ids: &Ids) -> String {
    let text = value.as_bytes().map(String::from_utf8_lossy).unwrap_or_default();
    let shown = if text.starts_with("id=") {
        let lines: Vec<String> = text.lines().map(|line| listed(line, ids)).collect();
        lines.join("\n")
    } else if let Some((database, request)) = monitored(&text) {
        format!("[{database} ...] {request}")
    } else {
        let mut shown = without_id(&format!("{value:?}"));
        for (name, id) in ids {
            shown = replace_number(&shown, &format!(":{id}"), &format!(":#{name}"));
        }
        shown
    };
    shown.replace(tag, "@")
}

/// What `HELLO` says, without the id: a play that does not speak of ids does not know them.
fn without_id(shown: &str) -> String {
    let Some((before, behind)) = shown.split_once("$\"id\": :") else { return shown.to_owned() };
    format!("{before}$\"id\": ...{}", behind.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// A client's line in `CLIENT LIST`.
fn listed(line: &str, ids: &Ids) -> String {
    let fields = line
        .split(' ')
        .filter(|field| field.split_once('=').is_some_and(|(name, _)| KEPT.contains(&name)));
    let mut listed = fields.collect::<Vec<_>>().join(" ");
    for (name, id) in ids {
        listed = replace_number(&listed, &format!("redir={id}"), &format!("redir=#{name}"));
    }
    listed
}

/// Database and request of a line that monitors are sent: `SECONDS.MICROSECONDS [DB ADDRESS] REQUEST`.
fn monitored(text: &str) -> Option<(&str, &str)> {
    let (time, rest) = text.split_once(" [")?;
    let (seconds, micros) = time.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whence, request) = rest.split_once("] ")?;
    let (database, _address) = whence.split_once(' ')?;
    (digits(seconds) && digits(micros)).then_some((database, request))
}

/// Whether this is what a monitor is told of what another performance does.
pub fn is_of_other_performance(value: &Value, tag: &str) -> bool {
    let Value::Simple(text) = value else { return false };
    let text = String::from_utf8_lossy(text);
    monitored(&text).is_some_and(|(_, request)| !request.contains(tag))
}

/// Replaces a number wherever it is not the beginning of a longer one.
fn replace_number(text: &str, number: &str, by: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(number) {
        let (before, behind) = (&rest[..at], &rest[at + number.len()..]);
        replaced.push_str(before);
        let longer = behind.starts_with(|c: char| c.is_ascii_digit());
        replaced.push_str(if longer { number } else { by });
        rest = behind;
    }
    replaced + rest
}

#[test]
fn what_differs_between_performances_is_not_shown() {
    let ids = Ids::from([("a".to_owned(), 12)]);
    let show = |value: Value| shown(&value, "~7~", &ids);
    let array = Value::Array(vec![Value::Integer(12), Value::Integer(123), Value::bulk("k~7~")]);
    assert_eq!(show(array), r##"*[:#a, :123, $"k@"]"##);
    let line = "id=12 addr=1.2.3.4:5 name=n~7~ age=4 db=1 flags=N redir=12 resp=2\n";
    assert_eq!(show(Value::bulk(line)), "name=n@ db=1 flags=N redir=#a resp=2");
    let seen = Value::Simple(br#"1700000000.000001 [3 127.0.0.1:5] "GET" "k~7~""#.to_vec());
    assert!(!is_of_other_performance(&seen, "~7~") && is_of_other_performance(&seen, "~8~"));
    assert_eq!(show(seen), r#"[3 ...] "GET" "k@""#);
}
