//! Splitting a line of a configuration into words, with Redis's quoting rules.

use std::ops::Range;

use crate::util::quote;

/// Why a line cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A quote is not closed, or text follows a closing quote.
    #[error("unbalanced quotes: close each quote, and put a space after the closing one")]
    Unbalanced,
    /// An escape makes bytes that are not UTF-8.
    #[error("an escape makes a text that is not UTF-8")]
    NotText,
}

/// Splits a line into words; `"..."` and `'...'` keep a word together.
pub fn split_words(line: &str) -> Result<Vec<String>, WordsError> {
    let mut bytes = Vec::new();
    let mut ranges = Vec::new();
    quote::split_args(line.as_bytes(), &mut bytes, |start, length| {
        ranges.push(start..start + length)
    })
    .ok_or(WordsError::Unbalanced)?;
    let word = |range: Range<usize>| String::from_utf8(bytes[range].to_vec());
    ranges.into_iter().map(|range| word(range).map_err(|_| WordsError::NotText)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quoted_blanks() {
        let words = split_words(r#" requirepass "a b" 'c d' "" "#).unwrap();
        assert_eq!(words, ["requirepass", "a b", "c d", ""]);
    }

    #[test]
    fn what_is_no_text_is_an_error() {
        assert_eq!(split_words(r#"x "open"#), Err(WordsError::Unbalanced));
        assert_eq!(split_words(r#""\xff""#), Err(WordsError::NotText));
    }
}
