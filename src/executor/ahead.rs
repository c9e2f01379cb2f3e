//! Looking ahead in a pipeline: where keys are many, what a request looks up is in no cache, and the
//! processor would wait for memory twice a request, for the bucket of the key's hash and for the entry.
//! Of a window of requests it fetches all buckets at once, then all entries at once, and then they run.
//!
//! Nothing depends on it: a request that is not what it looked like is run as any other, and what was
//! fetched in vain only took its time.

use shm::table;

use super::Executor;
use super::turn::{Turn, input_of};
use crate::keyspace;
use crate::proto::request::first_argument;
use crate::root;

/// Requests that are looked at together: the processor has some dozen lines under way at once at the most.
const WINDOW: usize = 16;
/// In a database with fewer keys everything is near anyway.
const MANY_KEYS: u64 = 1 << 14;

impl Executor {
    /// Looks at the requests from where the turn stands. Gives where those end that it has looked at: the
    /// input's end if there is nothing to gain from looking at any more of it.
    #[inline(never)]
    pub(super) fn look_ahead(&self, turn: &Turn) -> usize {
        let arena = &self.arena;
        let index = arena.get(turn.session).database.get().to_native();
        let keys = keyspace::keys(root::database(arena, self.root, index));
        if table::len(arena, keys) < MANY_KEYS {
            return turn.length;
        }
        let input = &input_of(arena, &self.input, turn)[..turn.length];
        let (mut hashes, mut count, mut at) = ([0; WINDOW], 0, turn.position);
        while count < WINDOW {
            let Some((key, end)) = first_argument(&input[at..]) else { break };
            hashes[count] = arena.hash(key);
            table::prefetch(arena, keys, hashes[count]);
            count += 1;
            at += end;
        }
        for &hash in &hashes[..count] {
            table::prefetch_entry(arena, keys, hash);
        }
        if count < WINDOW { turn.length } else { at }
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
                4 => request(&["MGET", &key, &missing, "key:1"]),
                5 => request(&["GET", &long]),
                6 => b"*0\r\n".to_vec(),
                7 => request(&["SELECT", if i % 2 == 0 { "0" } else { "1" }]),
                _ => request(&["APPEND", ""]),
            });
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
