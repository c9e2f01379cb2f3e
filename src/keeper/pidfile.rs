//! The file that tells others the keeper's pid.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A pid file that is there as long as this value. The pid never changes, so upgrades leave it
/// alone.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    content: String,
}

impl PidFile {
    /// Writes the file in one step, so that nobody ever reads half of it.
    pub fn write(path: &Path) -> io::Result<Self> {
        let content = format!("{}\n", std::process::id());
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = path.with_file_name(name);
        fs::write(&temporary, &content)?;
        if let Err(error) = fs::rename(&temporary, path) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(Self { path: path.into(), content })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Not if another instance has put its own pid there meanwhile.
        if fs::read_to_string(&self.path).is_ok_and(|found| found == self.content) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_and_goes_unless_it_is_another_s() {
        let path = std::env::temp_dir().join(format!("hotredis-pidfile-{}", std::process::id()));
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists());
        fs::remove_file(path).unwrap();
    }
}
