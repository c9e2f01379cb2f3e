//! The directory in which the control sockets of running instances are found.
//!
//! Each keeper's socket is named by its pid, `PID.sock`. Which port or Unix socket an instance
//! serves, it says itself when asked: there is no second place that could disagree. A socket
//! appears under its name only once it listens, so one that refuses a connection belongs to nobody.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::{geteuid, getpid};

/// Why a runtime directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// It cannot be made or looked at.
    #[error("cannot use the runtime directory {}: {source} (choose another with --runtime-dir)", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others could put sockets of their own into it.
    #[error("the runtime directory {} {problem}: choose another with --runtime-dir, or repair it", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Where control sockets are unless `--runtime-dir` says otherwise.
///
/// For root always in the same place, where a service's are too: whether root has logged in with a
/// session of its own (`XDG_RUNTIME_DIR`) or by sudo must not decide what it finds.
pub fn default_path() -> PathBuf {
    let user = geteuid();
    if user.is_root() {
        return "/run/hotredis".into();
    }
    let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match base.filter(|it| it.is_absolute()) {
        Some(base) => base.join("hotredis"),
        None => format!("/tmp/hotredis-{user}").into(),
    }
}

/// Makes the directory if it is not there (mode 0700), and refuses it if another user owns it or
/// may write to it.
pub fn prepare(path: &Path) -> Result<(), RuntimeDirError> {
    let failed = |source| RuntimeDirError::Io { path: path.into(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let found = fs::symlink_metadata(path).map_err(failed)?;
    match problem_of(&found) {
        Some(problem) => Err(RuntimeDirError::Unsafe { path: path.into(), problem }),
        None => Ok(()),
    }
}

fn problem_of(found: &Metadata) -> Option<&'static str> {
    if !found.is_dir() {
        Some("is no directory")
    } else if found.uid() != geteuid().as_raw() {
        Some("belongs to another user")
    } else if found.mode() & 0o022 != 0 {
        Some("is writable by others")
    } else {
        None
    }
}

/// The name of this process's control socket.
pub fn own_socket(directory: &Path) -> PathBuf {
    socket_of(directory, getpid().as_raw())
}

/// The name of the control socket of the keeper with this pid.
pub fn socket_of(directory: &Path, pid: i32) -> PathBuf {
    directory.join(format!("{pid}.sock"))
}

/// All control sockets in the directory, by pid; there are none if there is no directory.
pub fn sockets(directory: &Path) -> Result<Vec<PathBuf>, RuntimeDirError> {
    let failed = |source| RuntimeDirError::Io { path: directory.into(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if let Some(pid) = pid_in_name(&path) {
            found.push((pid, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn pid_in_name(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".sock")?.parse().ok()
}

/// Removes sockets that dead instances left behind.
pub fn remove_stale(directory: &Path) {
    for path in sockets(directory).unwrap_or_default() {
        let Ok(before) = fs::symlink_metadata(&path) else { continue };
        let refused = UnixStream::connect(&path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if refused {
            remove_if_same(&path, (before.dev(), before.ino()));
        }
    }
}

/// Removes the file if it is still the one with this device and inode.
pub fn remove_if_same(path: &Path, identity: (u64, u64)) {
    if fs::symlink_metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == identity) {
        // If it is gone by now, it is gone.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("hotredis-runtime-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn only_sockets_that_nobody_listens_on_are_removed() {
        let directory = scratch("stale");
        prepare(&directory).unwrap();
        let live = UnixListener::bind(directory.join("10.sock")).unwrap();
        drop(UnixListener::bind(directory.join("9.sock")).unwrap());
        fs::write(directory.join("notes.txt"), "kept").unwrap();
        assert_eq!(
            sockets(&directory).unwrap(),
            [directory.join("9.sock"), directory.join("10.sock")]
        );
        remove_stale(&directory);
        assert_eq!(sockets(&directory).unwrap(), [directory.join("10.sock")]);
        assert!(directory.join("notes.txt").exists());
        drop(live);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let directory = scratch("mode");
        prepare(&directory).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(prepare(&directory).unwrap_err().to_string().contains("writable by others"));
        fs::remove_dir_all(&directory).unwrap();
        fs::write(&directory, "").unwrap();
        assert!(prepare(&directory).is_err());
        fs::remove_file(directory).unwrap();
    }

    #[test]
    fn another_file_under_the_same_name_is_left() {
        let file = scratch("same");
        fs::write(&file, "a").unwrap();
        let found = fs::metadata(&file).unwrap();
        remove_if_same(&file, (found.dev(), found.ino() + 1));
        assert!(file.exists());
        remove_if_same(&file, (found.dev(), found.ino()));
        assert!(!file.exists());
    }
}
