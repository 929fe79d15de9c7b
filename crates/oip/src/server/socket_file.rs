//! The file of a Unix socket: made with its permissions, never taken from a server that runs, and
//! gone when its own does.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The file of a socket that this server listens on.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Which file it is: another server may have put its own there since.
    node: (u64, u64),
}

impl SocketFile {
    /// Listens at a path. A socket that is left there and that nobody listens on is replaced.
    ///
    /// # Errors
    /// `AddrInUse` where somebody listens; `AlreadyExists` where a file is that is no socket.
    pub(super) async fn listen(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        refuse_taken(path).await?;
        // Beside its place first: nobody may connect before the permissions are set.
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside)?;
        let made = fs::set_permissions(&beside, Permissions::from_mode(mode))
            .and_then(|()| fs::rename(&beside, path))
            .and_then(|()| fs::symlink_metadata(path));
        match made {
            Ok(file) => Ok((
                listener,
                Self {
                    path: path.to_owned(),
                    node: (file.dev(), file.ino()),
                },
            )),
            Err(error) => {
                let _ = fs::remove_file(&beside);
                Err(error)
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|file| (file.dev(), file.ino()) == self.node) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn refuse_taken(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is no socket",
        ));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another server listens there",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_has_its_permissions_and_goes_with_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("oip.sock");
        let (listener, file) = SocketFile::listen(&path, 0o600).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(UnixStream::connect(&path).await.is_ok());
        drop((listener, file));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("oip.sock");
        let (listener, file) = SocketFile::listen(&path, 0o660).await.unwrap();
        let taken = SocketFile::listen(&path, 0o660).await.unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        // As after a kill.
        std::mem::forget(file);
        drop(listener);
        let (_listener, again) = SocketFile::listen(&path, 0o660).await.unwrap();

        // What is not its own any more stays.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "something else").unwrap();
        drop(again);
        assert_eq!(fs::read(&path).unwrap(), b"something else");
        let kept = SocketFile::listen(&path, 0o660).await.unwrap_err();
        assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
    }
}
