//! The words commands are made of: keys, values, and numbers of every kind.

use super::Gen;
use crate::cmd;
use crate::differential::{Command, Mask, Vary};

/// Numbers that parsers stumble over.
const ODD_NUMBERS: [&str; 36] = [
    "0",
    "-0",
    "+1",
    "01",
    "-1",
    "1",
    "2",
    "7",
    "8",
    "64",
    "100",
    " 1",
    "1 ",
    "",
    "abc",
    "1.0",
    "1e2",
    "0x10",
    "--1",
    "-",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "4294967295",
    "4294967296",
    "2147483647",
    "2147483648",
    "-2147483648",
    "99999999999999999999999",
    "nan",
    "inf",
    "1\0",
    "536870912",
];

/// Floating point numbers that parsers and printers stumble over.
const ODD_FLOATS: [&str; 40] = [
    "0.1",
    "0.2",
    "3.0e3",
    "-1.5",
    "1e17",
    "5e-324",
    "1.7976931348623157e308",
    "1e308",
    "1e309",
    "1e4000",
    "-1e4932",
    "1e5000",
    "inf",
    "-inf",
    "+inf",
    "nan",
    "infinity",
    "0x1p3",
    "0x10",
    "1e-20",
    "3.14159265358979",
    "+1.5",
    " 1",
    "1 ",
    "",
    ".5",
    "5.",
    "1e",
    "000.5",
    "-0",
    "-0.0",
    "123456789012345678901234567890",
    "0.00000000000000001",
    "1.1",
    "1e2",
    "17179869184.5",
    "9007199254740993",
    "18446744073709551616",
    "0.30000000000000004",
    "1.0000000000000000000001",
];

impl Gen {
    /// One of few keys, so that commands meet; some binary, empty or long.
    pub fn key(&mut self) -> Vec<u8> {
        match self.choice(24) {
            0..=8 => b"a".to_vec(),
            9..=12 => b"b".to_vec(),
            13..=15 => b"key:1".to_vec(),
            16..=17 => b"key:2".to_vec(),
            18 => b"hash{tag}".to_vec(),
            19 => b"\x00\xff\r\n binary".to_vec(),
            20 => Vec::new(),
            21 => "schl\u{fc}ssel".as_bytes().to_vec(),
            22 => b"missing".to_vec(),
            _ => vec![b'l'; 300],
        }
    }

    /// A key that may be of another type.
    pub fn typed_key(&mut self) -> Vec<u8> {
        if self.percent(15) {
            return self.bytes_from(&[b"list", b"hash", b"set", b"zset", b"stream"]);
        }
        self.key()
    }

    /// The command that makes such a key.
    pub fn make_typed_key(&mut self) -> Command {
        match self.choice(5) {
            0 => cmd!["RPUSH", "list", "1", "2", "3"],
            1 => cmd!["HSET", "hash", "f", "v", "g", "1"],
            2 => cmd!["SADD", "set", "1", "2", "x"],
            3 => cmd!["ZADD", "zset", "1", "one", "2", "two"],
            _ => cmd!["XADD", "stream", "1-1", "f", "v"].mask(Mask::Exact).vary(Vary::Not),
        }
    }

    /// Something to store: often a number, sometimes long or binary.
    pub fn value(&mut self) -> Vec<u8> {
        match self.choice(20) {
            0..=3 => self.rng.within(-20..=20).to_string().into_bytes(),
            4 => self.odd_number(),
            5 => self.odd_float(),
            6 => Vec::new(),
            7 => b"hello world".to_vec(),
            8 => b"\x00\x01\xfe\xff".to_vec(),
            9 => vec![b'x'; 44],
            10 => vec![b'y'; 45],
            11 => {
                let len = self.choice(200);
                self.rng.bytes(len)
            }
            12 => vec![b'z'; 1000 + self.choice(4000)],
            13 => "9223372036854775800".into(),
            14 => "-9223372036854775800".into(),
            15 => b"foobar".to_vec(),
            _ => format!("v{}", self.choice(100)).into_bytes(),
        }
    }

    /// An integer: mostly small, sometimes odd.
    pub fn integer(&mut self) -> Vec<u8> {
        match self.choice(8) {
            0 => self.odd_number(),
            1 => self.rng.within(i64::MIN..=i64::MAX).to_string().into_bytes(),
            _ => self.rng.within(-20..=20).to_string().into_bytes(),
        }
    }

    /// An index into a string: mostly near its ends.
    pub fn index(&mut self) -> Vec<u8> {
        match self.choice(8) {
            0 => self.odd_number(),
            1 => self.rng.within(-2000..=2000).to_string().into_bytes(),
            _ => self.rng.within(-12..=12).to_string().into_bytes(),
        }
    }

    /// A number that parsers stumble over.
    pub fn odd_number(&mut self) -> Vec<u8> {
        self.rng.pick(&ODD_NUMBERS).as_bytes().to_vec()
    }

    /// A floating point number that parsers or printers stumble over.
    pub fn odd_float(&mut self) -> Vec<u8> {
        self.rng.pick(&ODD_FLOATS).as_bytes().to_vec()
    }

    /// A floating point number.
    pub fn float(&mut self) -> Vec<u8> {
        match self.choice(3) {
            0 => self.odd_float(),
            1 => self.integer(),
            _ => {
                let whole = self.rng.within(-1000..=1000);
                let part = self.choice(1000);
                format!("{whole}.{part}").into_bytes()
            }
        }
    }

    /// A lifetime in seconds: none that ends while the episode runs, none that is valid and
    /// so long that it would be taken for an exact time.
    pub fn seconds(&mut self) -> String {
        let from = [
            "100",
            "1000",
            "86400",
            "1000000000",
            "100",
            "1000",
            "100000",
            "0",
            "-1",
            "-100",
            "-9223372036854775808",
            "9223372036854775807",
            "9223372036854775",
            "9223372036854776",
            "18446744073709551616",
            "abc",
            "",
            "1.5",
            "+100",
            "0100",
            " 100",
        ];
        (*self.rng.pick(&from)).to_owned()
    }

    /// A lifetime in milliseconds, as `seconds`.
    pub fn milliseconds(&mut self) -> String {
        let from = [
            "100000",
            "100001",
            "1000000",
            "999999999",
            "100500",
            "0",
            "-1",
            "-100000",
            "-9223372036854775808",
            "9223372036854775807",
            "9223372036854775808",
            "abc",
            "",
            "1e9",
            "+100000",
            "0100000",
        ];
        (*self.rng.pick(&from)).to_owned()
    }

    /// A point in time in seconds since 1970: far away or past.
    pub fn unix_seconds(&mut self) -> String {
        let from = [
            "33177117420",
            "33177117420",
            "33177117421",
            "40000000000",
            "9223372036854775",
            "1",
            "1000000000",
            "0",
            "-1",
            "9223372036854776",
            "9223372036854775807",
            "-9223372036854775808",
            "-9223372036854775",
            "abc",
            "",
            "1.5",
        ];
        (*self.rng.pick(&from)).to_owned()
    }

    /// A point in time in milliseconds since 1970: far away or past.
    pub fn unix_milliseconds(&mut self) -> String {
        let from = [
            "33177117420000",
            "33177117420001",
            "33177117420499",
            "33177117420500",
            "33177117420999",
            "9223372036854775807",
            "1",
            "1000000000000",
            "0",
            "-1",
            "9223372036854775808",
            "-9223372036854775808",
            "abc",
            "",
            "1.5",
        ];
        (*self.rng.pick(&from)).to_owned()
    }

    /// A database: mostly the first few.
    pub fn db(&mut self) -> String {
        match self.choice(12) {
            0 => "15".into(),
            1 => (*self.rng.pick(&["16", "-1", "abc", "", "1.0", "99999999999", "01"])).into(),
            n => (n % 3).to_string(),
        }
    }

    /// A glob pattern for keys or channels.
    pub fn pattern(&mut self) -> Vec<u8> {
        let from: [&[u8]; 22] = [
            b"*",
            b"a",
            b"?",
            b"key:*",
            b"key:[12]",
            b"key:[^1]",
            b"[a-c]",
            b"[c-a]",
            b"k?y*",
            b"**",
            b"\\a",
            b"a*b",
            b"",
            b"[",
            b"[a",
            b"[^a",
            b"*\xff*",
            b"key:[1-",
            b"\\",
            b"h*{*}",
            b"[\\a]",
            b"news.*",
        ];
        self.bytes_from(&from)
    }

    /// A lifetime option of SET or GETEX, with its argument.
    pub fn lifetime(&mut self) -> (&'static str, String) {
        match self.choice(4) {
            0 => ("EX", self.seconds()),
            1 => ("PX", self.milliseconds()),
            2 => ("EXAT", self.unix_seconds()),
            _ => ("PXAT", self.unix_milliseconds()),
        }
    }
}
