//! The file that tells others the keeper's pid.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
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
        // Only a dead keeper with this pid can have left it. Made anew, so that nothing is written
        // through a link that somebody has put there.
        let _ = fs::remove_file(&temporary);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .and_then(|()| fs::rename(&temporary, path));
        if let Err(error) = written {
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

    #[test]
    fn whoever_reads_it_while_it_is_replaced_reads_a_whole_one() {
        let directory = std::env::temp_dir().join(format!("hotredis-pid-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("pid");
        fs::write(&path, "4194304\n").unwrap();
        // What a keeper with this pid left when it was killed in the midst of writing.
        let leftover = directory.join(format!("pid.{}.new", std::process::id()));
        std::os::unix::fs::symlink(directory.join("victim"), &leftover).unwrap();
        let own = format!("{}\n", std::process::id());
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                // Forgotten, lest it remove what the next one is to replace.
                (0..500).for_each(|_| std::mem::forget(PidFile::write(&path).unwrap()));
            });
            while !writer.is_finished() {
                let found = fs::read_to_string(&path).expect("it is never missing");
                assert!(found == own || found == "4194304\n", "{found:?}");
            }
        });
        assert!(!directory.join("victim").exists(), "nothing was written through the link");
        fs::remove_dir_all(directory).unwrap();
    }
}
