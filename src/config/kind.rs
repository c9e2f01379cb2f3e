//! Kinds of values: how each is parsed, with Redis's words for what is wrong, and how it is shown.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::util::memsize::memtoull;
use crate::util::numbers::string2ll;

/// What values a directive takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// One word out of several.
    Choice(&'static [&'static str]),
    /// A whole number.
    Int {
        /// Smallest value.
        min: i128,
        /// Largest value.
        max: i128,
    },
    /// A whole number that is moved into its bounds instead of being refused, if it is an `int` at
    /// all.
    Clamped {
        /// Smallest value.
        min: i128,
        /// Largest value.
        max: i128,
    },
    /// Bytes, with the units `b k kb m mb g gb`.
    Memory {
        /// Smallest value.
        min: i128,
        /// Largest value.
        max: i128,
    },
    /// Bytes of the replication backlog: small values are raised to 16 KiB.
    BacklogSize,
    /// Bytes, or up to 100 % of something (`5%`).
    MemoryOrPercent,
    /// A file mode in octal.
    Octal {
        /// Largest value.
        max: i128,
    },
    /// Any bytes.
    Text,
    /// A name without a folder.
    FileName,
    /// A host name.
    Hostname,
    /// A process title with `{placeholders}`.
    TitleTemplate,
    /// Addresses, separated by spaces; `-` before one makes it optional, `*` is all of IPv4.
    Bind,
    /// `class hard soft seconds`, several times.
    BufferLimits,
    /// `seconds changes`, several times.
    Save,
    /// Classes of keyspace events.
    Events,
    /// Percentiles, separated by spaces.
    Percentiles,
    /// Three scores for the kernel's out-of-memory killer.
    OomScores,
    /// What a signal's shutdown does: words that can be combined.
    Shutdown,
}

/// A whole number within bounds.
pub(super) const fn int(min: i128, max: i128) -> Kind {
    Kind::Int { min, max }
}

/// Bytes within bounds.
pub(super) const fn memory(min: i128, max: i128) -> Kind {
    Kind::Memory { min, max }
}

/// One word out of several.
pub(super) const fn choice(words: &'static [&'static str]) -> Kind {
    Kind::Choice(words)
}

/// A parsed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// [`Kind::Bool`].
    Bool(bool),
    /// Position among the words of a [`Kind::Choice`].
    Choice(usize),
    /// Numbers, bit sets of events and shutdown words; percentages are negative.
    Number(i128),
    /// Everything else, in the form in which it is shown.
    Text(Vec<u8>),
    /// [`Kind::BufferLimits`].
    Limits(BufferLimits),
}

/// When a client is disconnected because it does not read its replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferLimit {
    /// Bytes at which it is disconnected at once; 0 for never.
    pub hard: u64,
    /// Bytes that it may exceed for `soft_seconds` only; 0 for no such limit.
    pub soft: u64,
    /// How long it may exceed `soft`.
    pub soft_seconds: u32,
}

/// Limits per class of client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferLimits {
    /// Ordinary clients.
    pub normal: BufferLimit,
    /// Replicas.
    pub replica: BufferLimit,
    /// Clients with subscriptions.
    pub pubsub: BufferLimit,
}

/// Why a value was refused, in Redis's words.
pub type Refusal = Cow<'static, str>;

const SHUTDOWN_WORDS: [(&str, i128); 5] =
    [("default", 0), ("save", 1), ("nosave", 2), ("now", 4), ("force", 8)];

/// The classes of keyspace events with Redis's bits, in the order in which they are shown.
const EVENT_CLASSES: [(u8, u32); 11] = [
    (b'g', 1 << 2),
    (b'$', 1 << 3),
    (b'l', 1 << 4),
    (b's', 1 << 5),
    (b'h', 1 << 6),
    (b'z', 1 << 7),
    (b'x', 1 << 8),
    (b'e', 1 << 9),
    (b't', 1 << 10),
    (b'd', 1 << 13),
    (b'n', 1 << 14),
];
/// What `A` stands for: everything but new keys (`n`) and misses (`m`).
const ALL_EVENTS: u32 = 0b10_0111_1111_1100;
/// Bits that are shown behind the classes.
const EVENT_CHANNELS: [(u8, u32); 3] = [(b'K', 1 << 0), (b'E', 1 << 1), (b'm', 1 << 11)];

impl Kind {
    /// Parses a value; `current` matters where a text changes only a part ([`Kind::BufferLimits`]).
    pub fn parse(self, text: &[u8], current: &Value) -> Result<Value, Refusal> {
        match self {
            Kind::Bool => parse_bool(text),
            Kind::Choice(words) => {
                let wanted = |word: &&str| word.as_bytes().eq_ignore_ascii_case(text);
                words.iter().position(wanted).map(Value::Choice).ok_or_else(|| one_of(words))
            }
            Kind::Int { min, max } => within(parse_int(text)?, min, max),
            Kind::Clamped { min, max } => {
                let Value::Number(number) = within(parse_int(text)?, 0, i32::MAX.into())? else {
                    unreachable!("within gives numbers")
                };
                Ok(Value::Number(number.clamp(min, max)))
            }
            Kind::Memory { min, max } => within(memory_value(text)?, min, max),
            Kind::BacklogSize => {
                within(memory_value(text)?, 1, i64::MAX.into())?;
                Ok(Value::Number(memory_value(text)?.max(16 * 1024)))
            }
            Kind::MemoryOrPercent => parse_memory_or_percent(text),
            Kind::Octal { max } => within(parse_octal(text)?, 0, max),
            Kind::Text => Ok(Value::Text(text.to_vec())),
            Kind::FileName if text.contains(&b'/') => {
                Err("dbfilename can't be a path, just a filename".into())
            }
            Kind::FileName => Ok(Value::Text(text.to_vec())),
            Kind::Hostname => parse_hostname(text),
            Kind::TitleTemplate => parse_title_template(text),
            Kind::Bind => parse_bind(text),
            Kind::BufferLimits => parse_buffer_limits(text, current),
            Kind::Save => parse_save(text),
            Kind::Events => parse_events(text),
            Kind::Percentiles => parse_percentiles(text),
            Kind::OomScores => parse_oom_scores(text),
            Kind::Shutdown => parse_shutdown(text),
        }
    }

    /// The value as `CONFIG GET` shows it.
    pub fn show(self, value: &Value) -> Vec<u8> {
        match (self, value) {
            (_, Value::Bool(value)) => if *value { "yes" } else { "no" }.into(),
            (Kind::Choice(words), Value::Choice(at)) => words[*at].into(),
            (Kind::MemoryOrPercent, Value::Number(number)) if *number < 0 => {
                format!("{}%", -number).into()
            }
            (Kind::Octal { .. }, Value::Number(number)) => format!("{number:o}").into(),
            (Kind::Events, Value::Number(bits)) => show_events(*bits as u32),
            (Kind::Shutdown, Value::Number(bits)) => show_shutdown(*bits),
            (_, Value::Number(number)) => number.to_string().into(),
            (_, Value::Limits(limits)) => show_buffer_limits(limits),
            (_, Value::Text(text)) => text.clone(),
            (_, Value::Choice(_)) => unreachable!("only choices are stored as positions"),
        }
    }

    /// The value as a text that [`Self::parse`] turns into the same value: what is stored.
    pub fn store(self, value: &Value) -> Vec<u8> {
        match (self, value) {
            (Kind::Events, Value::Number(bits)) => {
                let bits = *bits as u32;
                letters(&EVENT_CLASSES, bits).chain(letters(&EVENT_CHANNELS, bits)).collect()
            }
            _ => self.show(value),
        }
    }
}

/// Parts between single spaces; none in an empty text.
fn words(text: &[u8]) -> Vec<&[u8]> {
    if text.is_empty() { Vec::new() } else { text.split(|&byte| byte == b' ').collect() }
}

fn one_of(words: &[&str]) -> Refusal {
    format!("argument(s) must be one of the following: {}", words.join(", ")).into()
}

fn parse_bool(text: &[u8]) -> Result<Value, Refusal> {
    if text.eq_ignore_ascii_case(b"yes") {
        Ok(Value::Bool(true))
    } else if text.eq_ignore_ascii_case(b"no") {
        Ok(Value::Bool(false))
    } else {
        Err("argument must be 'yes' or 'no'".into())
    }
}

fn within(number: i128, min: i128, max: i128) -> Result<Value, Refusal> {
    if number < min || number > max {
        return Err(format!("argument must be between {min} and {max} inclusive").into());
    }
    Ok(Value::Number(number))
}

fn parse_int(text: &[u8]) -> Result<i128, Refusal> {
    string2ll(text).map(i128::from).ok_or("argument couldn't be parsed into an integer".into())
}

fn memory_value(text: &[u8]) -> Result<i128, Refusal> {
    // Redis reads it as a C string.
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    memtoull(&text[..end]).map(i128::from).ok_or("argument must be a memory value".into())
}

fn parse_memory_or_percent(text: &[u8]) -> Result<Value, Refusal> {
    let percent = |text: &[u8]| string2ll(text.strip_suffix(b"%")?).filter(|number| *number >= 0);
    // Redis keeps both in one signed word: bytes beyond its range turn up as percentages there, and
    // here.
    let number = match (memtoull(text), percent(text)) {
        (Some(bytes), _) => bytes as i64,
        (None, Some(number)) => -number,
        (None, None) => return Err("argument must be a memory or percent value".into()),
    };
    if number < -100 {
        return Err("percentage argument must be less or equal to 100".into());
    }
    Ok(Value::Number(number.into()))
}

fn parse_octal(text: &[u8]) -> Result<i128, Refusal> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| i64::from_str_radix(text, 8).ok());
    parsed.map(i128::from).ok_or("argument couldn't be parsed as an octal number".into())
}

fn parse_hostname(text: &[u8]) -> Result<Value, Refusal> {
    if text.len() >= 256 {
        return Err("Hostnames must be less than 256 characters".into());
    }
    if !text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots".into());
    }
    Ok(Value::Text(text.to_vec()))
}

fn parse_title_template(text: &[u8]) -> Result<Value, Refusal> {
    const KNOWN: [&str; 6] =
        ["title", "listen-addr", "server-mode", "port", "tls-port", "config-file"];
    let template = String::from_utf8_lossy(text);
    let known = template.split('{').skip(1).all(|part| {
        let name = part.split_once('}').map(|(name, _)| name);
        name.is_some_and(|name| KNOWN.contains(&name) || name == "unixsocket")
    });
    if !known || template.trim().is_empty() {
        return Err("template format is invalid or contains unknown variables".into());
    }
    Ok(Value::Text(text.to_vec()))
}

/// Whether the addresses can be bound shows when they are applied; only their number is bounded
/// here.
fn parse_bind(text: &[u8]) -> Result<Value, Refusal> {
    const MOST: usize = 16;
    if words(text).len() > MOST {
        return Err("Too many bind addresses specified.".into());
    }
    Ok(Value::Text(text.to_vec()))
}

fn parse_buffer_limits(text: &[u8], current: &Value) -> Result<Value, Refusal> {
    let words = words(text);
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = match current {
        Value::Limits(limits) => *limits,
        _ => BufferLimits::default(),
    };
    for group in words.chunks_exact(4) {
        let class = match group[0].to_ascii_lowercase().as_slice() {
            b"normal" => &mut limits.normal,
            b"slave" | b"replica" => &mut limits.replica,
            b"pubsub" => &mut limits.pubsub,
            _ => {
                return Err("Invalid client class specified in buffer limit configuration.".into());
            }
        };
        // Redis keeps the seconds in an int: what is too large for one turns negative there.
        let seconds = c_number(group[3]).map(|seconds| seconds as i32);
        let parsed = (memtoull(group[1]), memtoull(group[2]), seconds);
        let (Some(hard), Some(soft), Some(seconds @ 0..)) = parsed else {
            return Err(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.".into(),
            );
        };
        *class = BufferLimit { hard, soft, soft_seconds: seconds.unsigned_abs() };
    }
    Ok(Value::Limits(limits))
}

fn show_buffer_limits(limits: &BufferLimits) -> Vec<u8> {
    let classes = [("normal", limits.normal), ("slave", limits.replica), ("pubsub", limits.pubsub)];
    let show = |(class, limit): (&str, BufferLimit)| {
        format!("{class} {} {} {}", limit.hard, limit.soft, limit.soft_seconds)
    };
    classes.map(show).join(" ").into()
}

/// C's `strtoll` as Redis uses it: the whole text must be a number; none at all is 0, too large a
/// one saturates.
fn c_number(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let signed = digits.len() != text.len();
    if !digits.iter().all(u8::is_ascii_digit) || (digits.is_empty() && signed) {
        return None;
    }
    let add = |sum: i64, digit: &u8| {
        let digit = i64::from(digit - b'0');
        sum.saturating_mul(10).saturating_add(if negative { -digit } else { digit })
    };
    Some(digits.iter().fold(0, add))
}

fn join(numbers: Vec<i64>) -> Value {
    let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
    Value::Text(texts.join(" ").into())
}

fn parse_save(text: &[u8]) -> Result<Value, Refusal> {
    let numbers: Option<Vec<i64>> = words(text).into_iter().map(c_number).collect();
    let valid = |pair: &[i64]| pair.len() == 2 && pair[0] >= 1 && pair[1] >= 0;
    numbers
        .filter(|numbers| numbers.chunks(2).all(valid))
        .map(join)
        .ok_or("Invalid save parameters".into())
}

fn parse_events(text: &[u8]) -> Result<Value, Refusal> {
    let mut bits = 0;
    for byte in text {
        let known = EVENT_CLASSES.iter().chain(&EVENT_CHANNELS).find(|(class, _)| class == byte);
        bits |= match (byte, known) {
            (b'A', _) => ALL_EVENTS,
            (_, Some((_, bit))) => *bit,
            _ => return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
        };
    }
    Ok(Value::Number(bits.into()))
}

fn letters(table: &[(u8, u32)], bits: u32) -> impl Iterator<Item = u8> {
    table.iter().filter(move |(_, bit)| bits & bit != 0).map(|(letter, _)| *letter)
}

/// `A` hides `n`, as in Redis.
fn show_events(bits: u32) -> Vec<u8> {
    let mut shown = Vec::new();
    if bits & ALL_EVENTS == ALL_EVENTS {
        shown.push(b'A');
    } else {
        shown.extend(letters(&EVENT_CLASSES, bits));
    }
    shown.extend(letters(&EVENT_CHANNELS, bits));
    shown
}

fn parse_percentiles(text: &[u8]) -> Result<Value, Refusal> {
    let mut shown = String::new();
    for word in words(text) {
        let number = std::str::from_utf8(word).ok().and_then(|word| word.parse::<f64>().ok());
        match number {
            Some(number) if (0.0..=100.0).contains(&number) => {
                let digits = format!("{number:.6}");
                let trimmed = digits.trim_end_matches('0').trim_end_matches('.');
                let separator = if shown.is_empty() { "" } else { " " };
                write!(shown, "{separator}{trimmed}").expect("writing to a string");
            }
            Some(number) if !number.is_nan() => {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                        .into(),
                );
            }
            _ => return Err("Invalid latency-tracking-info-percentiles parameters".into()),
        }
    }
    Ok(Value::Text(shown.into()))
}

fn parse_oom_scores(text: &[u8]) -> Result<Value, Refusal> {
    let words = words(text);
    if words.len() != 3 {
        return Err("wrong number of arguments".into());
    }
    let score = |word| c_number(word).filter(|score| (-2000..=2000).contains(score));
    let scores: Option<Vec<i64>> = words.into_iter().map(score).collect();
    let refusal = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
    scores.map(join).ok_or(refusal.into())
}

fn parse_shutdown(text: &[u8]) -> Result<Value, Refusal> {
    let words = words(text);
    let known = SHUTDOWN_WORDS.map(|(word, _)| word);
    let mut bits = 0;
    for word in &words {
        let found =
            SHUTDOWN_WORDS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
        bits |= found.ok_or_else(|| one_of(&known))?.1;
    }
    if words.is_empty() {
        return Err(one_of(&known));
    }
    if bits & 3 == 3 {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
    }
    Ok(Value::Number(bits))
}

fn show_shutdown(bits: i128) -> Vec<u8> {
    if bits == 0 {
        return b"default".to_vec();
    }
    let set: Vec<&str> =
        SHUTDOWN_WORDS.iter().filter(|(_, bit)| bits & bit != 0).map(|(word, _)| *word).collect();
    set.join(" ").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::directives;
    use super::*;

    fn texts() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            "-?[0-9]{1,20}(b|kb?|mb?|gb?|%)?",
            "(normal|slave|pubsub|replica) [0-9]{1,6}[km]?b? [0-9]{1,6} [0-9]{1,4}",
            "[Ag$lshzxeKEtmdn]{0,8}",
            "[0-9]{1,3}\\.[0-9]{0,8}",
            "(default|save|nosave|now|force|yes|no|local|ip|always|debug)",
            ".{0,12}",
        ];
        prop::collection::vec(word, 0..4).prop_map(|words| words.join(" "))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_stored_is_parsed_to_the_same_value(text in texts()) {
            let none = Value::Limits(BufferLimits::default());
            for directive in directives::all() {
                if let Ok(value) = directive.kind.parse(text.as_bytes(), &none) {
                    let stored = directive.kind.store(&value);
                    let again = directive.kind.parse(&stored, &none);
                    prop_assert_eq!(again, Ok(value), "{} {:?}", directive.name, text);
                }
            }
        }
    }
}
