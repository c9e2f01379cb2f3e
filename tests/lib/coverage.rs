//! What the tests have tried of what there is: every command, subcommand and option that `COMMAND DOCS`
//! knows, and every encoding that `OBJECT ENCODING` names.
//!
//! An option is a word that the documentation gives as a token of a command. It counts as tried where it
//! stands among the arguments of that command.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

/// The documentation of every command, one a line, as the server has it.
const DOCS: &str = include_str!("../../src/commands/docs.jsonl");

/// What is documented of one command.
#[derive(Debug, Default)]
struct Documented {
    group: String,
    /// In upper case.
    options: BTreeSet<String>,
    /// Its full name is `container|subcommand`.
    container: bool,
}

/// All that can be tried.
#[derive(Debug)]
pub struct Catalogue(BTreeMap<String, Documented>);

impl Catalogue {
    /// What `COMMAND DOCS` knows.
    ///
    /// # Panics
    /// If the file is not what the server's script generates.
    pub fn documented() -> Self {
        let mut all = BTreeMap::new();
        for line in DOCS.lines() {
            let doc: Json = serde_json::from_str(line).expect("a line of JSON for each command");
            let name = doc["name"].as_str().expect("each has a name").to_owned();
            let subcommands = doc["subcommands"].as_object();
            for (name, doc) in subcommands.into_iter().flatten() {
                all.insert(name.clone(), documented(doc, false));
            }
            all.insert(name, documented(&doc, subcommands.is_some()));
        }
        Self(all)
    }

    /// The names of all commands, and `container|subcommand`, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The full name of the command that these arguments call, and how many of them are its name.
    fn command_of(&self, args: &[&[u8]]) -> Option<(&str, usize)> {
        let lower =
            |at: usize| args.get(at).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase());
        let name = lower(0)?;
        let (name, found) = self.0.get_key_value(&name)?;
        if found.container
            && let Some(sub) = lower(1)
            && let Some((full, _)) = self.0.get_key_value(&format!("{name}|{sub}"))
        {
            return Some((full, 2));
        }
        Some((name, 1))
    }
}

fn documented(doc: &Json, container: bool) -> Documented {
    let mut options = BTreeSet::new();
    tokens(&doc["arguments"], &mut options);
    Documented { group: doc["group"].as_str().unwrap_or_default().to_owned(), options, container }
}

/// The tokens of arguments, and of the arguments that they consist of.
fn tokens(arguments: &Json, found: &mut BTreeSet<String>) {
    for argument in arguments.as_array().into_iter().flatten() {
        found.extend(argument["token"].as_str().map(str::to_ascii_uppercase));
        tokens(&argument["arguments"], found);
    }
}

/// What was tried.
#[derive(Debug)]
pub struct Coverage {
    catalogue: Catalogue,
    /// Options by command.
    tried: BTreeMap<String, BTreeSet<String>>,
    encodings: BTreeSet<String>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            catalogue: Catalogue::documented(),
            tried: BTreeMap::new(),
            encodings: BTreeSet::new(),
        }
    }
}

impl Coverage {
    /// Notes a command with its options.
    pub fn note(&mut self, args: &[&[u8]]) {
        let Some((name, words)) = self.catalogue.command_of(args) else { return };
        if !self.tried.contains_key(name) {
            self.tried.insert(name.to_owned(), BTreeSet::new());
            // A container does nothing by itself.
            let container = name.split('|').next().unwrap_or(name);
            self.tried.entry(container.to_owned()).or_default();
        }
        let known = &self.catalogue.0[name].options;
        let tried = self.tried.get_mut(name).expect("just made");
        for arg in &args[words..] {
            // No token is longer.
            if known.len() == tried.len() || arg.len() > 16 {
                continue;
            }
            let word = String::from_utf8_lossy(arg).to_ascii_uppercase();
            if known.contains(&word) {
                tried.insert(word);
            }
        }
    }

    /// Notes a command without its options: they may be there by chance.
    pub fn note_name(&mut self, args: &[&[u8]]) {
        if let Some((name, _)) = self.catalogue.command_of(args) {
            self.tried.entry(name.to_owned()).or_default();
        }
    }

    /// Notes an encoding that a value has had.
    pub fn note_encoding(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name);
        if !self.encodings.contains(&*name) {
            self.encodings.insert(name.into_owned());
        }
    }

    /// The encodings that values have had.
    pub fn encodings(&self) -> &BTreeSet<String> {
        &self.encodings
    }

    /// What was not tried of the commands that are `wanted` by full name and group: `command` or
    /// `command OPTION`, but for those in `except`.
    pub fn missing(
        &self,
        wanted: impl Fn(&str, &str) -> bool,
        except: &[(&str, &str)],
    ) -> Vec<String> {
        let mut missing = Vec::new();
        for (name, known) in &self.catalogue.0 {
            if !wanted(name, &known.group) {
                continue;
            }
            let Some(tried) = self.tried.get(name) else {
                missing.push(name.clone());
                continue;
            };
            let options = known.options.difference(tried);
            missing.extend(options.map(|option| format!("{name} {option}")));
        }
        missing.retain(|one| !except.iter().any(|(name, _)| name == one));
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(lines: &[&str]) -> Coverage {
        let mut coverage = Coverage::default();
        for line in lines {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            coverage.note(&words);
        }
        coverage
    }

    #[test]
    fn what_was_not_tried_is_named() {
        let missing = noted(&["hscan k 0 match x", "HSET h COUNT 1"])
            .missing(|_, group| group == "hash", &[]);
        assert!(
            missing.contains(&"hscan COUNT".to_owned()) && missing.contains(&"hget".to_owned())
        );
        assert!(!missing.contains(&"hscan MATCH".to_owned()), "{missing:?}");
        assert!(!missing.contains(&"hset".to_owned()), "{missing:?}");
    }

    #[test]
    fn subcommands_and_exceptions_are_told_apart() {
        let coverage = noted(&["XGROUP create s g $ mkstream", "XINFO", "nosuch"]);
        let missing = coverage
            .missing(|_, group| group == "stream", &[("xlen", "for the sake of this test")]);
        let has = |name: &str| missing.iter().any(|one| one == name);
        assert!(has("xgroup|create ENTRIESREAD"));
        assert!(!has("xgroup|create MKSTREAM") && !has("xgroup|create $") && has("xgroup|destroy"));
        assert!(!has("xinfo") && has("xinfo|stream") && !has("xlen"));
    }
}
