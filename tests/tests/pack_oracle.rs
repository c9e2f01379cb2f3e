//! Packed runs against redis-server: the bytes of a listpack that `DUMP` gives are those that the same
//! values are packed into.

use hotredis_tests::rng::{Rng, SeedOnFailure, seed_or};
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;
use shm::pack;

/// The type byte of a hash that is dumped as a listpack.
const HASH_LISTPACK: u8 = 16;
/// Version and checksum behind a dumped value.
const TRAILER: usize = 10;

/// Fields and values at the edges of all encodings.
fn value(rng: &mut Rng) -> Vec<u8> {
    let edges = [0, 127, 4096, 32_768, 8_388_608, 2_147_483_648, i64::MAX - 1];
    match rng.below(4) {
        0 => {
            let number = *rng.pick(&edges) as i128 + i128::from(rng.within(-2..=2));
            let signed = if rng.percent(50) { number } else { -number };
            signed.to_string().into_bytes()
        }
        1 => rng.pick(&["", "-0", "01", "+1", "-", "9223372036854775808"]).as_bytes().to_vec(),
        2 => {
            let around = *rng.pick(&[63usize, 126, 4095, 16_378]);
            let len = around - 2 + rng.below(5);
            rng.bytes(len)
        }
        _ => {
            let len = rng.below(40);
            rng.bytes(len)
        }
    }
}

/// The listpack within the payload of a dumped hash: type, length (RDB's encoding), bytes, trailer.
fn listpack(payload: &[u8]) -> &[u8] {
    assert_eq!(payload[0], HASH_LISTPACK);
    let body = &payload[1..payload.len() - TRAILER];
    let head = match body[0] >> 6 {
        0 => 1,
        1 => 2,
        _ => 5,
    };
    &body[head..]
}

#[test]
fn a_run_is_the_inside_of_a_listpack() {
    let seed = seed_or(4711);
    let _guard = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let redis = Setup::redis()
        .directive("rdbcompression", "no")
        .directive("hash-max-listpack-value", "1mb")
        .start();
    let mut client = redis.connect();
    for round in 0..300 {
        let mut fields: Vec<Vec<u8>> = (0..1 + rng.below(12)).map(|_| value(&mut rng)).collect();
        fields.sort();
        fields.dedup();
        let key = format!("h:{round}");
        let mut command = vec![b"HSET".to_vec(), key.clone().into_bytes()];
        let mut run = Vec::new();
        let count = fields.len() * 2;
        for field in fields {
            let value = value(&mut rng);
            pack::encode(&mut run, &field);
            pack::encode(&mut run, &value);
            command.extend([field, value]);
        }
        client.call(&command);
        let Value::Bulk(payload) = client.call(&["DUMP", &key]) else { panic!("no dump") };
        let listpack = listpack(&payload);
        assert_eq!(&listpack[..4], (listpack.len() as u32).to_le_bytes());
        assert_eq!(&listpack[4..6], (count as u16).to_le_bytes());
        assert_eq!(&listpack[6..listpack.len() - 1], run, "round {round}: {command:?}");
        assert_eq!(listpack.last(), Some(&0xff));
        assert_eq!(pack::validate(&run), Some(count));
    }
    redis.finish();
}
