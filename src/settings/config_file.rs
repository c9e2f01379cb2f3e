//! Reading a configuration file in Redis's format.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Directive, MAX_DIRECTIVES, MAX_JSON, WordsError, split_words};

/// How deep files may include each other.
const MAX_DEPTH: usize = 8;

/// Why a configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// It cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is too long.
    #[error("the configuration file {} is longer than {MAX_JSON} bytes or has more than {MAX_DIRECTIVES} directives", .0.display())]
    TooLong(PathBuf),
    /// A line cannot be split into words.
    #[error("{}:{line}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        source: WordsError,
    },
    /// Files include each other in a circle, or too deep.
    #[error("{}: files include each other more than {MAX_DEPTH} deep", .0.display())]
    TooDeep(PathBuf),
}

/// Reads the directives of a file and of those that it includes, in order.
pub fn read_config_file(path: &Path) -> Result<Vec<Directive>, ConfigFileError> {
    let mut directives = Vec::new();
    read_into(path, 0, &mut directives)?;
    Ok(directives)
}

fn read_into(
    path: &Path,
    depth: usize,
    directives: &mut Vec<Directive>,
) -> Result<(), ConfigFileError> {
    if depth > MAX_DEPTH {
        return Err(ConfigFileError::TooDeep(path.into()));
    }
    let text = read_bounded(path)?;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = split_words(line).map_err(|source| ConfigFileError::Line {
            path: path.into(),
            line: index + 1,
            source,
        })?;
        if words.is_empty() {
            continue;
        }
        let name = words.remove(0).to_ascii_lowercase();
        match words.as_slice() {
            [included] if name == "include" => {
                read_into(Path::new(included), depth + 1, directives)?
            }
            _ => directives.push(Directive { name, arguments: words }),
        }
        if directives.len() > MAX_DIRECTIVES {
            return Err(ConfigFileError::TooLong(path.into()));
        }
    }
    Ok(())
}

fn read_bounded(path: &Path) -> Result<String, ConfigFileError> {
    let failed = |source| ConfigFileError::Read { path: path.into(), source };
    let mut text = String::new();
    let bound = u64::try_from(MAX_JSON).unwrap_or(u64::MAX);
    let file = File::open(path).map_err(failed)?;
    file.take(bound + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > MAX_JSON { Err(ConfigFileError::TooLong(path.into())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("hotredis-config-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn directives_come_in_order_with_includes_in_place() {
        let directory = scratch("order");
        let (outer, inner) = (directory.join("outer.conf"), directory.join("inner.conf"));
        fs::write(&inner, "maxclients 7\n").unwrap();
        let text = format!("# a comment\n\nPort 7000\ninclude {}\nsave \"\"\n", inner.display());
        fs::write(&outer, text).unwrap();
        let expected = [
            Directive::new("port", ["7000"]),
            Directive::new("maxclients", ["7"]),
            Directive::new("save", [""]),
        ];
        assert_eq!(read_config_file(&outer).unwrap(), expected);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_line() {
        let directory = scratch("wrong");
        let file = directory.join("a.conf");
        fs::write(&file, "port 1\nrequirepass \"open\n").unwrap();
        let error = read_config_file(&file).unwrap_err();
        assert!(error.to_string().contains("a.conf:2: unbalanced"), "{error}");
        fs::write(&file, format!("include {}\n", file.display())).unwrap();
        assert!(matches!(read_config_file(&file).unwrap_err(), ConfigFileError::TooDeep(_)));
        fs::write(&file, "x".repeat(MAX_JSON + 1)).unwrap();
        assert!(matches!(read_config_file(&file).unwrap_err(), ConfigFileError::TooLong(_)));
        assert!(matches!(read_config_file(&directory).unwrap_err(), ConfigFileError::Read { .. }));
        fs::remove_dir_all(directory).unwrap();
    }
}
