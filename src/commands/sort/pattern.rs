//! Patterns of `BY` and `GET`: names of keys, and of fields of hashes, in which an element takes the
//! place of the `*`.

use shm::pack::Digits;

use crate::commands::errors::c_string;
use crate::executor::{Cx, Fail};
use crate::keyspace::{EntryView, Type};
use crate::values::hash::Hash;
use crate::values::string;

/// What a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Nothing: it names no key of the element's own.
    Nothing,
    /// The key of this name around the element, or the field of the hash there.
    Key {
        /// The name before the element.
        before: &'a [u8],
        /// The name behind it.
        after: &'a [u8],
        /// The field of a hash (`key->field`).
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    /// Reads a pattern. As in Redis, neither `*` nor `->` is seen behind a NUL.
    pub fn parse(text: &'a [u8]) -> Pattern<'a> {
        let seen = c_string(text, usize::MAX);
        if seen == b"#" {
            return Pattern::Element;
        }
        let Some(star) = seen.iter().position(|byte| *byte == b'*') else {
            return Pattern::Nothing;
        };
        let arrow = seen[star + 1..].windows(2).position(|pair| pair == b"->");
        // An arrow at the very end is part of the name.
        let arrow = arrow.map(|at| star + 1 + at).filter(|at| at + 2 < seen.len());
        let before = &text[..star];
        match arrow {
            Some(at) => {
                Pattern::Key { before, after: &text[star + 1..at], field: Some(&text[at + 2..]) }
            }
            None => Pattern::Key { before, after: &text[star + 1..], field: None },
        }
    }

    /// What it stands for where the element is `element`; `None` if there is no such key or field, or
    /// it is of another type.
    pub fn look_up(&self, cx: &mut Cx<'_>, element: &[u8]) -> Result<Option<Vec<u8>>, Fail> {
        let (before, after, field) = match *self {
            Pattern::Element => return Ok(Some(element.to_vec())),
            Pattern::Nothing => return Ok(None),
            Pattern::Key { before, after, field } => (before, after, field),
        };
        let name = [before, element, after].concat();
        let Some(found) = cx.read(&name)?.found else { return Ok(None) };
        let entry = EntryView::new(&cx.tx, found.entry);
        Ok(match field {
            None => {
                let content = string::content(&entry);
                content.map(|content| content.bytes(&mut Digits::new()).into_owned())
            }
            Some(field) if entry.kind().value_type() == Type::Hash => {
                Hash::of(&entry).get(field).map(|value| value.to_vec())
            }
            Some(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(before: &'a str, after: &'a str, field: Option<&'a str>) -> Pattern<'a> {
        let (before, after) = (before.as_bytes(), after.as_bytes());
        Pattern::Key { before, after, field: field.map(str::as_bytes) }
    }

    #[test]
    fn patterns_name_keys_and_fields() {
        for (text, expected) in [
            ("#", Pattern::Element),
            ("#\0*", Pattern::Element),
            ("", Pattern::Nothing),
            ("##", Pattern::Nothing),
            ("key->field", Pattern::Nothing),
            ("key\0*", Pattern::Nothing),
            ("*", key("", "", None)),
            ("a*b*c", key("a", "b*c", None)),
            ("a*b->f", key("a", "b", Some("f"))),
            ("a->*b", key("a->", "b", None)),
            ("a*->", key("a", "->", None)),
            ("a*->->g", key("a", "", Some("->g"))),
            ("a*->f\0g", key("a", "", Some("f\0g"))),
            ("a*\0->f", key("a", "\0->f", None)),
            ("a*->\0f", key("a", "->\0f", None)),
        ] {
            assert_eq!(Pattern::parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}
