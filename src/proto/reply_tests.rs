use proptest::prelude::*;
use redis_protocol::resp2::types::OwnedFrame as Frame2;
use redis_protocol::resp3::types::{OwnedFrame as Frame3, VerbatimStringFormat};
use redis_protocol::{resp2, resp3};

use super::*;

fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_, Vec<u8>>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Reply::new(&mut out, protocol));
    out
}

fn both(write: impl Fn(&mut Reply<'_, Vec<u8>>)) -> (String, String) {
    let text = |protocol| written(protocol, &write).escape_ascii().to_string();
    (text(Protocol::Resp2), text(Protocol::Resp3))
}

#[test]
fn every_kind_in_both_versions() {
    type Write = fn(&mut Reply<'_, Vec<u8>>);
    let cases: &[(Write, &str, &str)] = &[
        (|r| r.ok(), "+OK\\r\\n", "+OK\\r\\n"),
        (|r| r.simple("hi"), "+hi\\r\\n", "+hi\\r\\n"),
        (|r| r.simple("a\r\n+b"), "+a  +b\\r\\n", "+a  +b\\r\\n"),
        (|r| r.null(), "$-1\\r\\n", "_\\r\\n"),
        (|r| r.null_array(), "*-1\\r\\n", "_\\r\\n"),
        (|r| r.map(2), "*4\\r\\n", "%2\\r\\n"),
        (|r| r.set(12), "*12\\r\\n", "~12\\r\\n"),
        (|r| r.push(3), "*3\\r\\n", ">3\\r\\n"),
        (|r| assert_eq!(r.attribute(1), r.protocol() == Protocol::Resp3), "", "|1\\r\\n"),
        (|r| r.double(0.1), "$19\\r\\n0.10000000000000001\\r\\n", ",0.10000000000000001\\r\\n"),
        (|r| r.double(f64::NEG_INFINITY), "$4\\r\\n-inf\\r\\n", ",-inf\\r\\n"),
        (|r| r.double(-f64::NAN), "$3\\r\\nnan\\r\\n", ",nan\\r\\n"),
        (|r| r.boolean(true), ":1\\r\\n", "#t\\r\\n"),
        (|r| r.boolean(false), ":0\\r\\n", "#f\\r\\n"),
        (|r| r.big_number(b"123"), "$3\\r\\n123\\r\\n", "(123\\r\\n"),
        (|r| r.verbatim(Format::Text, b"ab"), "$2\\r\\nab\\r\\n", "=6\\r\\ntxt:ab\\r\\n"),
        (|r| r.bulk_integer(-10), "$3\\r\\n-10\\r\\n", "$3\\r\\n-10\\r\\n"),
        (|r| r.error("bad"), "-ERR bad\\r\\n", "-ERR bad\\r\\n"),
        (|r| r.error("-OOM bad"), "-OOM bad\\r\\n", "-OOM bad\\r\\n"),
        (|r| r.error("\r\na\r\nb\n"), "-ERR a  b\\r\\n", "-ERR a  b\\r\\n"),
        (|r| r.error("\r\n"), "-ERR \\r\\n", "-ERR \\r\\n"),
    ];
    for (write, resp2, resp3) in cases {
        assert_eq!(both(write), (resp2.to_string(), resp3.to_string()));
    }
}

#[test]
fn pieces_of_a_bulk_string() {
    let out = written(Protocol::Resp2, |reply| {
        reply.bulk_start(4);
        reply.raw(b"ab");
        reply.raw(b"cd");
        reply.bulk_end();
    });
    assert_eq!(out, b"$4\r\nabcd\r\n");
}

/// A reply of any shape.
#[derive(Clone, Debug)]
enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Double(f64),
    Boolean(bool),
    BigNumber(u128),
    Verbatim(String),
    Array(Vec<Value>),
    Push(Vec<Value>),
    Map(Vec<(i64, Value)>),
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[ -~]{0,20}".prop_map(Value::Simple),
        "[A-Z]{1,5} [a-z ]{1,20}[a-z]".prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        (-20i64..20).prop_map(Value::Integer),
        any::<Vec<u8>>().prop_map(Value::Bulk),
        Just(Value::Null),
        any::<f64>().prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        any::<u128>().prop_map(Value::BigNumber),
        "[a-z\r\n]{0,20}".prop_map(Value::Verbatim),
    ];
    leaf.prop_recursive(3, 30, 8, |inner| {
        let items = prop::collection::vec(inner.clone(), 0..8);
        prop_oneof![
            items.prop_map(Value::Array),
            prop::collection::btree_map(any::<i64>(), inner, 0..5)
                .prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

impl Value {
    fn write(&self, reply: &mut Reply<'_, Vec<u8>>) {
        match self {
            Self::Simple(text) => reply.simple(text),
            Self::Error(text) => reply.error(format!("-{text}")),
            Self::Integer(value) => reply.integer(*value),
            Self::Bulk(bytes) => reply.bulk(bytes),
            Self::Null => reply.null(),
            Self::Double(value) => reply.double(*value),
            Self::Boolean(value) => reply.boolean(*value),
            Self::BigNumber(value) => reply.big_number(value.to_string().as_bytes()),
            Self::Verbatim(text) => reply.verbatim(Format::Text, text.as_bytes()),
            Self::Array(items) => {
                reply.array(items.len());
                items.iter().for_each(|item| item.write(reply));
            }
            Self::Push(items) => {
                reply.push(items.len());
                items.iter().for_each(|item| item.write(reply));
            }
            Self::Map(pairs) => {
                reply.map(pairs.len());
                for (key, value) in pairs {
                    reply.integer(*key);
                    value.write(reply);
                }
            }
        }
    }

    fn resp2(&self) -> Frame2 {
        let items = |items: &[Self]| Frame2::Array(items.iter().map(Self::resp2).collect());
        match self {
            Self::Simple(text) => Frame2::SimpleString(text.clone().into_bytes()),
            Self::Error(text) => Frame2::Error(text.clone()),
            Self::Integer(value) => Frame2::Integer(*value),
            Self::Bulk(bytes) => Frame2::BulkString(bytes.clone()),
            Self::Null => Frame2::Null,
            Self::Double(value) => {
                let mut text = Vec::new();
                numbers::write_g17(&mut text, *value);
                Frame2::BulkString(text)
            }
            Self::Boolean(value) => Frame2::Integer(i64::from(*value)),
            Self::BigNumber(value) => Frame2::BulkString(value.to_string().into_bytes()),
            Self::Verbatim(text) => Frame2::BulkString(text.clone().into_bytes()),
            Self::Array(values) | Self::Push(values) => items(values),
            Self::Map(pairs) => Frame2::Array(
                pairs
                    .iter()
                    .flat_map(|(key, value)| [Frame2::Integer(*key), value.resp2()])
                    .collect(),
            ),
        }
    }

    fn resp3(&self) -> Frame3 {
        let attributes = None;
        let list = |items: &[Self]| items.iter().map(Self::resp3).collect();
        match self {
            Self::Simple(text) => {
                Frame3::SimpleString { data: text.clone().into_bytes(), attributes }
            }
            Self::Error(text) => Frame3::SimpleError { data: text.clone(), attributes },
            Self::Integer(value) => Frame3::Number { data: *value, attributes },
            Self::Bulk(bytes) => Frame3::BlobString { data: bytes.clone(), attributes },
            Self::Null => Frame3::Null,
            Self::Double(value) => Frame3::Double { data: *value, attributes },
            Self::Boolean(value) => Frame3::Boolean { data: *value, attributes },
            Self::BigNumber(value) => {
                Frame3::BigNumber { data: value.to_string().into_bytes(), attributes }
            }
            Self::Verbatim(text) => Frame3::VerbatimString {
                data: text.clone().into_bytes(),
                format: VerbatimStringFormat::Text,
                attributes,
            },
            Self::Array(items) => Frame3::Array { data: list(items), attributes },
            Self::Push(items) => Frame3::Push { data: list(items), attributes },
            Self::Map(pairs) => Frame3::Map {
                data: pairs
                    .iter()
                    .map(|(key, value)| {
                        (Frame3::Number { data: *key, attributes: None }, value.resp3())
                    })
                    .collect(),
                attributes,
            },
        }
    }
}

proptest! {
    #[test]
    fn resp2_is_what_the_reference_reads(value in value()) {
        let out = written(Protocol::Resp2, |reply| value.write(reply));
        let decoded = resp2::decode::decode(&out).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(decoded, Some((value.resp2(), out.len())));
    }

    #[test]
    fn resp3_is_what_the_reference_reads(
        value in prop_oneof![
            value(), prop::collection::vec(value(), 1..4).prop_map(Value::Push),
        ],
    ) {
        let out = written(Protocol::Resp3, |reply| value.write(reply));
        let decoded = resp3::decode::complete::decode(&out)
            .map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(decoded, Some((value.resp3(), out.len())));
    }
}
