//! Looking ahead in a pipeline: where keys are many, what a request looks up is in no cache, and the
//! processor would wait for memory twice a request, for the bucket of the key's hash and for the entry.
//! Of a window of requests it fetches all buckets at once, then all entries at once, and then they run. So it is with
//! the keys of a command that names several.
//!
//! Nothing depends on it: a request that is not what it looked like is run as any other, and what was
//! fetched in vain only took its time.

use shm::{Off, View, table};

use super::Executor;
use super::cx::{Cx, Outcome};
use super::turn::{Turn, input_of};
use crate::keyspace::{self, Database};
use crate::proto::request::first_argument;
use crate::root;

/// Keys that are fetched together: the processor has some dozen lines under way at once at the most.
const WINDOW: usize = 16;
/// In a database with fewer keys everything is near anyway.
const MANY_KEYS: u64 = 1 << 14;

fn is_worth_it(view: &View, database: Off<Database>) -> bool {
    keyspace::len(view, database) >= MANY_KEYS
}

/// Fetches a window of keys; gives how many there were.
fn fetch<'k>(view: &View, database: Off<Database>, names: impl Iterator<Item = &'k [u8]>) -> usize {
    let keys = keyspace::keys(database);
    let (mut hashes, mut count) = ([0; WINDOW], 0);
    for name in names.take(WINDOW) {
        hashes[count] = view.hash(name);
        table::prefetch(view, keys, hashes[count]);
        count += 1;
    }
    hashes[..count].iter().for_each(|&hash| table::prefetch_entry(view, keys, hash));
    count
}

impl Executor {
    /// Looks at the requests from where the turn stands. Gives where those end that it has looked at: the
    /// input's end if there is nothing to gain from looking at any more of it.
    #[inline(never)]
    pub(super) fn look_ahead(&self, turn: &Turn) -> usize {
        let arena = &self.arena;
        let index = arena.get(turn.session).database.get().to_native();
        let database = root::database(arena, self.root, index);
        if !is_worth_it(arena, database) {
            return turn.length;
        }
        let input = &input_of(arena, &self.input, turn)[..turn.length];
        let mut at = turn.position;
        let names = std::iter::from_fn(|| {
            let (name, end) = first_argument(&input[at..])?;
            at += end;
            Some(name)
        });
        if fetch(arena, database, names) < WINDOW { turn.length } else { at }
    }
}

impl<'a> Cx<'a> {
    /// Does something for each key of a command that names several, of which one is every `step`th argument from
    /// `first` on: `each` gets its argument's number and name.
    pub fn each_key(
        &mut self,
        first: usize,
        step: usize,
        mut each: impl FnMut(&mut Cx<'a>, usize, &'a [u8]) -> Outcome,
    ) -> Outcome {
        let names = self.args.from(first).step_by(step);
        let looks = names.len() > 1 && is_worth_it(&self.tx, self.database);
        for (number, name) in names.clone().enumerate() {
            if looks && number % WINDOW == 0 {
                fetch(&self.tx, self.database, names.clone().skip(number));
            }
            each(self, first + number * step, name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    fn request(words: &[&str]) -> Vec<u8> {
        let word = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
        format!("*{}\r\n{}", words.len(), words.iter().map(word).collect::<String>()).into()
    }

    /// A command with more keys than a window has, or fewer.
    fn several(command: &str, from: usize, value: &str) -> Vec<u8> {
        let keys: Vec<String> =
            (from..from + 1 + from % 40).map(|n| format!("key:{}", n * 131)).collect();
        let mut words = vec![command];
        for key in &keys {
            words.push(key);
            words.extend((!value.is_empty()).then_some(value));
        }
        request(&words)
    }

    #[test]
    fn a_pipeline_gets_the_replies_that_its_requests_get_alone() {
        let mut server = Server::new();
        let client = server.connect();
        let keys = MANY_KEYS as usize + 1_000;
        for key in 0..keys {
            server.line(client, &format!("SET key:{key} {key}"));
        }
        let (long, mut requests) = ("k".repeat(100_000), Vec::new());
        for i in 0..5 * WINDOW {
            let key = format!("key:{}", i * 131);
            let missing = format!("missing:{i}");
            requests.push(request(&["GET", &key]));
            requests.push(match i % 9 {
                0 => request(&["PING"]),
                1 => request(&["GET", &missing]),
                2 => format!("GET {key}\r\n").into(),
                3 => b"\r\n".to_vec(),
                4 => several("MGET", i, ""),
                5 => request(&["GET", &long]),
                6 => b"*0\r\n".to_vec(),
                7 => request(&["SELECT", if i % 2 == 0 { "0" } else { "1" }]),
                _ => request(&["APPEND", ""]),
            });
            requests.push(several("EXISTS", i, ""));
        }
        let mut alone = Vec::new();
        for request in &requests {
            server.feed(client, request);
            alone.extend(server.received(client));
        }
        server.line(client, "SELECT 0");
        server.feed(client, &requests.concat());
        assert!(server.received(client) == alone);
        // However it is cut.
        let all = requests.concat();
        for size in [1_000, 4_099, 65_537] {
            server.line(client, "SELECT 0");
            let mut together = Vec::new();
            for part in all.chunks(size) {
                server.feed(client, part);
                together.extend(server.received(client));
            }
            assert!(together == alone, "in parts of {size} bytes");
        }
    }

    #[test]
    fn every_key_of_a_command_has_its_turn_however_many_there_are() {
        let mut server = Server::new();
        let client = server.connect();
        for key in 0..MANY_KEYS {
            server.line(client, &format!("SET key:{key} {key}"));
        }
        for from in [0, 14, 15, 16, 31, 39] {
            let count = 1 + from % 40;
            let keys = from..from + count;
            let mut ask = |command: &str, value: &str| {
                server.feed(client, &several(command, from, value));
                server.text(client)
            };
            assert_eq!(ask("EXISTS", ""), format!(":{count}\r\n"));
            assert_eq!(ask("TOUCH", ""), format!(":{count}\r\n"));
            let values: String = keys
                .map(|n| (n * 131).to_string())
                .map(|value| format!("${}\r\n{value}\r\n", value.len()))
                .collect();
            assert_eq!(ask("MGET", ""), format!("*{count}\r\n{values}"));
            assert_eq!(ask("MSET", "x"), "+OK\r\n");
            assert_eq!(ask("MGET", ""), format!("*{count}\r\n{}", "$1\r\nx\r\n".repeat(count)));
            assert_eq!(ask("DEL", ""), format!(":{count}\r\n"));
            assert_eq!(ask("EXISTS", ""), ":0\r\n");
            for n in from..from + count {
                server.line(client, &format!("SET key:{0} {0}", n * 131));
            }
        }
        server.check();
    }

    #[test]
    fn it_looks_at_a_window_where_keys_are_many_and_at_nothing_elsewhere() {
        let mut server = Server::new();
        let client = server.connect();
        server.line(client, "SET key:0 0");
        let requests = request(&["GET", "key:0"]).repeat(2 * WINDOW);
        let looked_at = |server: &mut Server, bytes: &[u8]| {
            let executor = &mut server.executor;
            executor.input.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
            let payload =
                [0, executor.session(0).expect("a session").raw(), (bytes.len() as u64) << 32, 0];
            let turn = Turn::left(&executor.arena, &payload).expect("a turn");
            executor.look_ahead(&turn)
        };
        assert_eq!(looked_at(&mut server, &requests), requests.len());
        for key in 0..MANY_KEYS {
            server.line(client, &format!("SET key:{key} {key}"));
        }
        assert_eq!(looked_at(&mut server, &requests), requests.len() / 2);
        assert_eq!(looked_at(&mut server, &requests[1..]), requests.len() - 1);
        assert_eq!(looked_at(&mut server, &requests[..requests.len() / 4]), requests.len() / 4);
    }
}
