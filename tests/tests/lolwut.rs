//! `LOLWUT` against redis-server 7.0.15, where chance has no part in it: the signature, the errors,
//! and pictures of at most two rows of squares.

use hotredis::commands::lolwut;
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

#[test]
fn what_is_not_random_equals_redis() {
    let redis = Setup::redis().start();
    let mut client = redis.connect();
    let mut requests: Vec<Vec<String>> = Vec::new();
    let fixed = [
        "",
        "5 5 5",
        "version",
        "VERSION 4",
        "version 7",
        "version x",
        "version 5 x",
        "version 6 1 y",
        "version 6 1 1",
        "version 6 0 -3",
        "version -1",
        "version 4294967301 3 1 1",
    ];
    requests.extend(fixed.map(|line| line.split_whitespace().map(str::to_owned).collect()));
    for columns in (1..70).chain([0, 199, 1000, 5000]) {
        for (per_row, per_column) in [(1, 1), (2, 1), (3, 2), (8, 2), (1, 2), (50, 1)] {
            let words = ["VERSION", "5"].map(str::to_owned).into_iter();
            requests.push(
                words.chain([columns, per_row, per_column].map(|n: i32| n.to_string())).collect(),
            );
        }
    }
    for words in requests {
        let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let ours = match lolwut::render(&args, &mut || 7) {
            Ok(text) => Value::bulk(text),
            Err(why) => Value::error(format!("ERR {why}")),
        };
        let request: Vec<&str> =
            ["LOLWUT"].into_iter().chain(words.iter().map(String::as_str)).collect();
        assert_eq!(ours, client.call(&request), "{words:?}");
    }
    redis.finish();
}
