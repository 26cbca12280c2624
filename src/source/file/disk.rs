//! The two files as the disk has them: looked at, read, appended to.
//!
//! Knows nothing of what stands in them. Reading creates nothing.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, ErrorKind, Read, Seek, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{core::Stamp, source::Trouble};

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print {
    dev: u64,
    ino: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// How old a change has to be, so that another one in the same tick of the
/// file system's clock can be ruled out (git calls it "racily clean").
const SETTLED: u64 = 2000;

impl Print {
    fn of(meta: &fs::Metadata) -> Print {
        Print {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether a file that looks like this at `now` has not been changed since
    /// by anybody whose change would not show.
    pub fn settled(&self, now: Stamp) -> bool {
        [self.modified, self.changed]
            .iter()
            .all(|(seconds, nanos)| {
                let ms = seconds
                    .saturating_mul(1000)
                    .saturating_add(nanos / 1_000_000);
                // Before 1970 is long ago.
                u64::try_from(ms).unwrap_or(0).saturating_add(SETTLED) <= now.0
            })
    }
}

/// What stands at `path` now; `None` if nothing does.
pub fn look(path: &Path) -> Result<Option<Print>, Trouble> {
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(Trouble::Everything(format!(
            "{}: not a regular file",
            path.display()
        ))),
        Ok(meta) => Ok(Some(Print::of(&meta))),
        Err(e) if missing(&e) => Ok(None),
        Err(e) => Err(trouble(path, &e)),
    }
}

/// A file that is there, opened for reading, and how it looks. Whoever calls
/// has looked before: a pipe would wait here for its other end.
pub fn open(path: &Path) -> Result<Option<(File, Print)>, Trouble> {
    let opened = File::open(path).and_then(|file| {
        let print = Print::of(&file.metadata()?);
        Ok((file, print))
    });
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(e) if missing(&e) => Ok(None),
        Err(e) => Err(trouble(path, &e)),
    }
}

/// All of `file`, unless it is larger than `limit`, or changes meanwhile.
pub fn read(path: &Path, file: &mut File, print: Print, limit: u64) -> Result<Vec<u8>, Trouble> {
    let too_large = || {
        Trouble::Everything(format!(
            "{}: larger than {} MiB",
            path.display(),
            limit >> 20
        ))
    };
    if print.size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(print.size).unwrap_or(0) + 1);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| trouble(path, &e))?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    let after = file.metadata().map_err(|e| trouble(path, &e))?;
    if Print::of(&after) != print {
        return Err(Trouble::Later(
            format!("{}: changed while it was read", path.display()),
            None,
        ));
    }
    Ok(bytes)
}

/// What an error of reading asks for: only a person changes permissions.
pub fn trouble(path: &Path, error: &io::Error) -> Trouble {
    let text = format!("{}: {error}", path.display());
    match error.kind() == ErrorKind::PermissionDenied {
        true => Trouble::Everything(text),
        false => Trouble::Later(text, None),
    }
}

/// A path through what is not a directory leads nowhere either.
fn missing(error: &io::Error) -> bool {
    [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind())
}

/// A file that nobody else who asks appends to now.
pub struct Locked {
    file: File,
    created: bool,
}

impl Locked {
    /// Opens `path`, creating it if need be, and waits at most `patience` for
    /// its lock.
    pub fn open(path: &Path, patience: Duration) -> Result<Locked, String> {
        let until = Instant::now() + patience;
        loop {
            let (file, created) = open_to_append(path).map_err(|e| match missing(&e) {
                true => "its directory does not exist".to_owned(),
                false => e.to_string(),
            })?;
            if !file.metadata().map_err(|e| e.to_string())?.is_file() {
                return Err("not a regular file".into());
            }
            match file.try_lock() {
                Ok(()) => {}
                // A file system without locks: better told than not.
                Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {}
                Err(TryLockError::Error(e)) => return Err(format!("cannot be locked: {e}")),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                    return Err("locked by another program".into());
                }
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
            }
            // Somebody may have put another file there meanwhile.
            let locked = Locked { file, created };
            let there = fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
            let here = locked.print().map(|print| (print.dev, print.ino));
            if there.ok() == here.ok() || Instant::now() >= until {
                return Ok(locked);
            }
        }
    }

    /// How it looks now.
    pub fn print(&self) -> io::Result<Print> {
        self.file.metadata().map(|meta| Print::of(&meta))
    }

    /// All of it, from its beginning.
    pub fn reader(&self) -> io::Result<BufReader<&File>> {
        let mut file = &self.file;
        file.rewind()?;
        Ok(BufReader::with_capacity(1 << 16, file))
    }

    /// Adds `line` in one write, and is back when it is on the disk. On an
    /// error nothing of it remains, as far as that can be done.
    pub fn append(&self, path: &Path, line: &str) -> Result<(), String> {
        append(&self.file, line, |mut file, text| file.write_all(text))?;
        match self.created {
            true => sync_directory(path),
            false => Ok(()),
        }
    }

    /// Is back when all that stands in it is on the disk: what another process
    /// has written before it died may not be.
    pub fn settle(&self, path: &Path) -> Result<(), String> {
        self.file.sync_all().map_err(|e| e.to_string())?;
        sync_directory(path)
    }
}

fn open_to_append(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    match options.open(path) {
        Ok(file) => Ok((file, false)),
        // Not `create_new`: a link that leads to nothing yet is lawful.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            options.create(true).open(path).map(|file| (file, true))
        }
        Err(e) => Err(e),
    }
}

fn append(
    file: &File,
    line: &str,
    write: impl FnOnce(&File, &[u8]) -> io::Result<()>,
) -> Result<(), String> {
    let before = file.metadata().map_err(|e| e.to_string())?.len();
    let mut text = String::with_capacity(line.len() + 2);
    if let Some(last) = before.checked_sub(1) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, last)
            .map_err(|e| e.to_string())?;
        // Whoever was here before died in the middle of a line.
        if byte != *b"\n" {
            text.push('\n');
        }
    }
    text.push_str(line);
    text.push('\n');
    let written = write(file, text.as_bytes()).and_then(|()| file.sync_data());
    written.map_err(|e| {
        // What is there may be half of it, or all of it in memory but not on
        // the disk, which a second sync would not tell. A file that grew by
        // more has got a line of somebody who asks for no lock.
        let ours = before + text.len() as u64;
        let undone = file
            .metadata()
            .is_ok_and(|meta| meta.len() <= ours && file.set_len(before).is_ok());
        match undone {
            true => e.to_string(),
            false => format!("{e}; part of a line may remain"),
        }
    })
}

/// Makes the name of a new file as lasting as the file.
fn sync_directory(path: &Path) -> Result<(), String> {
    let real = fs::canonicalize(path).map_err(|e| e.to_string())?;
    let directory = real.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| format!("its directory: {e}"))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Dir, *};

    fn print(modified: (i64, i64), changed: (i64, i64)) -> Print {
        Print {
            dev: 1,
            ino: 1,
            size: 1,
            modified,
            changed,
        }
    }

    #[test]
    fn a_change_of_the_last_two_seconds_is_not_settled() {
        let at = |ms: u64| Stamp(10_000 + ms);
        let old = (1, 0);
        let late = (10, 500_000_000);
        for (print, ms, settled) in [
            (print(late, old), 2499, false),
            (print(late, old), 2500, true),
            (print(old, late), 2499, false),
            (print(old, late), 2500, true),
            (print((-5, 0), old), 0, true),
            (print((i64::MAX, 0), old), 0, false),
        ] {
            assert_eq!(print.settled(at(ms)), settled, "{print:?} {ms}");
        }
    }

    #[test]
    fn a_line_that_could_not_be_written_leaves_nothing_behind() {
        let dir = Dir::new();
        let path = dir.write("f", "a\nb");
        let locked = Locked::open(&path, Duration::ZERO).unwrap();
        let why = append(&locked.file, "line", |mut file, text| {
            file.write_all(&text[..3])?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(why, Err("disk full".into()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb");
        // A line of somebody who takes no lock is not cut off.
        let why = append(&locked.file, "line", |mut file, text| {
            file.write_all(text)?;
            file.write_all(b"other\n")?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(why, Err("disk full; part of a line may remain".into()));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "a\nb\nline\nother\n");
        locked.append(&path, "more").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "a\nb\nline\nother\nmore\n");
    }

    #[test]
    fn a_file_that_changes_under_the_reading_is_not_believed() {
        let dir = Dir::new();
        let path = dir.write("f", "[]");
        let (mut file, print) = open(&path).unwrap().unwrap();
        assert_eq!(read(&path, &mut file, print, 2), Ok(b"[]".to_vec()));
        let (mut file, print) = open(&path).unwrap().unwrap();
        dir.write("f", "[] ");
        assert!(matches!(
            read(&path, &mut file, print, 9),
            Err(Trouble::Later(why, None)) if why.ends_with("changed while it was read")
        ));
        // Nor does one that grows get past the limit.
        let (mut file, _) = open(&path).unwrap().unwrap();
        assert!(matches!(
            read(&path, &mut file, print, 2),
            Err(Trouble::Everything(_))
        ));
    }

    #[test]
    fn a_lock_held_by_another_ends_the_wait() {
        let dir = Dir::new();
        let path = dir.write("f", "");
        let held = Locked::open(&path, Duration::ZERO).unwrap();
        let second = Locked::open(&path, Duration::from_millis(50));
        assert_eq!(second.err().as_deref(), Some("locked by another program"));
        drop(held);
        assert!(Locked::open(&path, Duration::ZERO).is_ok());
    }
}
