//! Values as the standard library has them, and commands upon them, with their replies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hotredis_tests::rng::Rng;
use hotredis_tests::value::Value;

/// The words of a request.
pub type Words = Vec<String>;

/// What the keys of one client hold. Each method is a command.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Model {
    number: i64,
    text: String,
    list: VecDeque<String>,
    other: VecDeque<String>,
    /// Scores by member.
    zset: BTreeMap<String, i64>,
    hash: BTreeMap<String, String>,
    set: BTreeSet<String>,
    /// Values by the first half of the id.
    stream: BTreeMap<u64, String>,
}

/// A word that makes every request differ from every other.
fn word(rng: &mut Rng) -> String {
    let length = *rng.pick(&[1, 3, 8, 8, 70, 300]);
    format!("{:x}{}", rng.next_u64(), "w".repeat(length))
}

fn bulks<'a>(words: impl Iterator<Item = &'a String>) -> Value {
    Value::Array(words.map(Value::bulk).collect())
}

fn popped(word: Option<String>) -> Value {
    word.map_or(Value::NullBulk, Value::bulk)
}

fn length(length: usize) -> Value {
    Value::Integer(length as i64)
}

impl Model {
    /// Makes up a command on keys that begin with `prefix`, and runs it upon the model. `serial` is larger
    /// than in any call before.
    pub fn command(&mut self, prefix: &str, serial: u64, rng: &mut Rng) -> (Words, Value) {
        let (line, reply) = match rng.below(6) {
            0 => self.strings(rng),
            1 => self.lists(rng),
            2 => self.zsets(rng),
            3 => self.hashes(rng),
            4 => self.sets(rng),
            _ => self.streams(serial, rng),
        };
        (line.split(' ').map(|word| word.replace('@', prefix)).collect(), reply)
    }

    fn strings(&mut self, rng: &mut Rng) -> (String, Value) {
        match rng.below(4) {
            0 | 1 => {
                self.number += 1;
                ("INCR @n".into(), Value::Integer(self.number))
            }
            2 if self.text.len() < 5_000 => {
                let more = word(rng);
                self.text.push_str(&more);
                (format!("APPEND @t {more}"), length(self.text.len()))
            }
            _ => {
                let new = word(rng);
                self.text.clone_from(&new);
                (format!("SET @t {new}"), Value::ok())
            }
        }
    }

    fn lists(&mut self, rng: &mut Rng) -> (String, Value) {
        match rng.below(7) {
            0 if self.list.len() < 200 => {
                let new = [word(rng), word(rng)];
                self.list.extend(new.clone());
                (format!("RPUSH @l {}", new.join(" ")), length(self.list.len()))
            }
            1 if self.list.len() < 200 => {
                let new = word(rng);
                self.list.push_front(new.clone());
                (format!("LPUSH @l {new}"), length(self.list.len()))
            }
            2 => ("RPOP @l".into(), popped(self.list.pop_back())),
            3 => {
                let moved = self.list.pop_front();
                self.other.extend(moved.clone());
                ("LMOVE @l @m LEFT RIGHT".into(), popped(moved))
            }
            4 => ("LRANGE @l 0 3".into(), bulks(self.list.iter().take(4))),
            5 if self.other.len() > 50 => {
                let removed = self.other.drain(..).count();
                ("DEL @m".into(), Value::Integer(i64::from(removed > 0)))
            }
            _ => ("LPOP @m".into(), popped(self.other.pop_front())),
        }
    }

    /// Members by score, then by name.
    fn ranked(&self) -> Vec<(i64, String)> {
        let mut all: Vec<_> =
            self.zset.iter().map(|(name, score)| (*score, name.clone())).collect();
        all.sort();
        all
    }

    fn zsets(&mut self, rng: &mut Rng) -> (String, Value) {
        let name = format!("member-{}", rng.below(300));
        let score = rng.within(-50..=50);
        match rng.below(5) {
            0 => {
                let is_new = self.zset.insert(name.clone(), score).is_none();
                (format!("ZADD @z {score} {name}"), Value::Integer(i64::from(is_new)))
            }
            1 => {
                let now = self.zset.entry(name.clone()).or_default();
                *now += score;
                (format!("ZINCRBY @z {score} {name}"), Value::bulk(now.to_string()))
            }
            2 => {
                let least = self.ranked().into_iter().next();
                if let Some((_, name)) = &least {
                    self.zset.remove(name);
                }
                let pair = |(score, name): (i64, String)| {
                    vec![Value::bulk(name), Value::bulk(score.to_string())]
                };
                ("ZPOPMIN @z".into(), Value::Array(least.map(pair).unwrap_or_default()))
            }
            3 => {
                let removed = self.zset.remove(&name).is_some();
                (format!("ZREM @z {name}"), Value::Integer(i64::from(removed)))
            }
            _ => {
                let rank = self.ranked().iter().position(|(_, other)| *other == name);
                let reply = rank.map_or(Value::NullBulk, length);
                (format!("ZRANK @z {name}"), reply)
            }
        }
    }

    fn hashes(&mut self, rng: &mut Rng) -> (String, Value) {
        let field = format!("field-{}", rng.below(150));
        let counter = format!("counter-{}", rng.below(10));
        match rng.below(4) {
            0 => {
                let value = word(rng);
                let is_new = self.hash.insert(field.clone(), value.clone()).is_none();
                (format!("HSET @h {field} {value}"), Value::Integer(i64::from(is_new)))
            }
            1 => {
                let now = self.hash.get(&counter).map_or(0, |text| text.parse().unwrap_or(0)) + 7;
                self.hash.insert(counter.clone(), i64::to_string(&now));
                (format!("HINCRBY @h {counter} 7"), Value::Integer(now))
            }
            2 => {
                let removed = self.hash.remove(&field).is_some();
                (format!("HDEL @h {field}"), Value::Integer(i64::from(removed)))
            }
            _ => ("HLEN @h".into(), length(self.hash.len())),
        }
    }

    fn sets(&mut self, rng: &mut Rng) -> (String, Value) {
        // Numbers, and now and then a word, which changes the form of the whole.
        let member = match rng.below(10) {
            0 => format!("word-{}", rng.below(20)),
            _ => rng.below(500).to_string(),
        };
        match rng.below(3) {
            0 => {
                let is_new = self.set.insert(member.clone());
                (format!("SADD @s {member}"), Value::Integer(i64::from(is_new)))
            }
            1 => {
                let removed = self.set.remove(&member);
                (format!("SREM @s {member}"), Value::Integer(i64::from(removed)))
            }
            _ => ("SCARD @s".into(), length(self.set.len())),
        }
    }

    fn streams(&mut self, serial: u64, rng: &mut Rng) -> (String, Value) {
        let first = self.stream.keys().next().copied();
        match (rng.below(4), first) {
            (0 | 1, _) => {
                let value = word(rng);
                self.stream.insert(serial, value.clone());
                (format!("XADD @x {serial}-1 f {value}"), Value::bulk(format!("{serial}-1")))
            }
            (2, Some(first)) => {
                self.stream.remove(&first);
                (format!("XDEL @x {first}-1"), Value::Integer(1))
            }
            _ => ("XLEN @x".into(), length(self.stream.len())),
        }
    }

    /// The requests whose replies tell all that the keys hold.
    pub fn queries(prefix: &str) -> Vec<Words> {
        let lines = "GET @n;GET @t;LRANGE @l 0 -1;LRANGE @m 0 -1;ZRANGE @z 0 -1 WITHSCORES;HGETALL @h;\
                     SMEMBERS @s;XRANGE @x - +";
        let words = |line: &str| line.split(' ').map(|word| word.replace('@', prefix)).collect();
        lines.split(';').map(words).collect()
    }

    /// What the keys hold, by the replies to [`queries`](Model::queries).
    pub fn of_replies(replies: &[Value]) -> Model {
        let text =
            |value: &Value| value.as_bytes().map_or(String::new(), |_| value.text().to_owned());
        let texts = |value: &Value| -> Vec<String> { value.elements().iter().map(text).collect() };
        let pairs = |value: &Value| -> Vec<(String, String)> {
            let all = texts(value);
            all.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
        };
        let [number, string, list, other, zset, hash, set, stream] = replies else {
            panic!("{} replies", replies.len())
        };
        let scored = pairs(zset).into_iter();
        let entry = |entry: &Value| {
            let [id, fields] = entry.elements() else { panic!("{entry:?} is no entry") };
            let (serial, _) = id.text().split_once('-').expect("an id has two halves");
            (serial.parse().expect("a number"), texts(fields)[1].clone())
        };
        Model {
            number: text(number).parse().unwrap_or(0),
            text: text(string),
            list: texts(list).into(),
            other: texts(other).into(),
            zset: scored.map(|(name, score)| (name, score.parse().expect("a score"))).collect(),
            hash: pairs(hash).into_iter().collect(),
            set: texts(set).into_iter().collect(),
            stream: stream.elements().iter().map(entry).collect(),
        }
    }
}
