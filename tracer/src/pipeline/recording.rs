//! Recordings: the raw records of a live run, and the facts that userspace found besides, so that a
//! replay makes the same reports byte for byte.
//!
//! A file is a first line with the wire version, then frames: kind u8, length u32 (little endian),
//! that many bytes. The first frame is the [`Host`]. Facts are JSON; records are the ring's bytes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use oomwhy_common::{OLDEST_WIRE_VERSION, WIRE_VERSION};
use serde::Serialize;
use thiserror::Error;

use crate::model::{facts::Fact, host::Host};

/// Start of the first line. The wire version in decimal and a newline follow.
const MAGIC: &str = "oomwhy-rec";
/// No first line is longer, in bytes.
const MAX_FIRST_LINE: u64 = 16;
const HOST: u8 = 0;
const RECORD: u8 = 1;
const FACT: u8 = 2;
/// Longest frame in bytes. A greater length is damage.
const MAX_FRAME: u32 = 1 << 20;

/// A frame after the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A record of the ring, unchanged.
    Record(Bytes),
    /// A fact that userspace found.
    Fact(Fact),
}

/// Why a recording cannot be written or read.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Path of the recording.
        path: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// The file exists and is not empty.
    #[error("{}: exists already\nhint: give another file, or remove this one", path.display())]
    Exists {
        /// Path of the recording.
        path: PathBuf,
    },
    /// The file is not a recording.
    #[error(
        "{}: not an oomwhy recording\nhint: make one with `oomwhy --record FILE`", path.display()
    )]
    Foreign {
        /// Path of the recording.
        path: PathBuf,
    },
    /// This build cannot read the wire version of the recording.
    #[error(
        "{}: cannot read wire version {version}; this oomwhy reads {OLDEST_WIRE_VERSION} to \
         {WIRE_VERSION}\nhint: replay it with the oomwhy that recorded it", path.display()
    )]
    Version {
        /// Path of the recording.
        path: PathBuf,
        /// Version in its first line.
        version: u32,
    },
    /// It ends in the middle of a frame, or a frame is damaged.
    #[error(
        "{}: damaged after {whole} complete records: {what}; only the records before were used",
        path.display()
    )]
    Damaged {
        /// Path of the recording.
        path: PathBuf,
        /// Number of frames before the damage.
        whole: usize,
        /// Description of the damage.
        what: String,
    },
}

/// Writes a recording, each frame with one write, so that a crash tears at most the last frame.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
}

impl Writer {
    /// Creates the file and writes its start. Fails if the file exists and is not empty.
    pub fn create(path: &Path, host: &Host) -> Result<Self, RecordingError> {
        let file = match create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                File::options().write(true).open(path)
            }
            result => result,
        }
        .map_err(|source| io_error(path, source))?;
        let meta = file.metadata().map_err(|source| io_error(path, source))?;
        if meta.is_file() && meta.len() > 0 {
            return Err(RecordingError::Exists { path: path.to_owned() });
        }
        let mut writer = Self { file, path: path.to_owned() };
        writer.file.write_all(first_line().as_bytes()).map_err(|source| io_error(path, source))?;
        writer.frame(HOST, &json(host))?;
        Ok(writer)
    }

    /// Appends a record of the ring.
    pub fn record(&mut self, record: &[u8]) -> Result<(), RecordingError> {
        self.frame(RECORD, record)
    }

    /// Appends a fact that userspace found.
    pub fn fact(&mut self, fact: &Fact) -> Result<(), RecordingError> {
        self.frame(FACT, &json(fact))
    }

    fn frame(&mut self, kind: u8, body: &[u8]) -> Result<(), RecordingError> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let frame = [&[kind], length.to_le_bytes().as_slice(), body].concat();
        self.file.write_all(&frame).map_err(|source| io_error(&self.path, source))
    }
}

/// Only the owner may read a recording, because it has command names and cgroup paths.
fn create_new(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Both types serialize into plain objects, which cannot fail.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn io_error(path: &Path, source: io::Error) -> RecordingError {
    RecordingError::Io { path: path.to_owned(), source }
}

/// The readable part of a recording.
#[derive(Debug)]
pub struct Recording {
    /// The host that it was made on.
    pub host: Host,
    /// The frames after the host, in order.
    pub frames: Vec<Frame>,
    /// The damage that ended the reading, if any.
    pub damage: Option<RecordingError>,
}

/// Reads a recording. If it is damaged, the frames before the damage are returned.
pub fn read(path: &Path) -> Result<Recording, RecordingError> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let mut reader = BufReader::new(file);
    let version = wire_version(&mut reader)
        .map_err(|source| io_error(path, source))?
        .ok_or_else(|| RecordingError::Foreign { path: path.to_owned() })?;
    if !(OLDEST_WIRE_VERSION..=WIRE_VERSION).contains(&version) {
        return Err(RecordingError::Version { path: path.to_owned(), version });
    }
    let damaged = |whole, what| RecordingError::Damaged { path: path.to_owned(), whole, what };
    let host = match next_frame(&mut reader) {
        Ok(Some((HOST, body))) => {
            serde_json::from_slice(&body).map_err(|error| damaged(0, error.to_string()))?
        }
        Ok(_) => {
            return Err(damaged(0, "the description of the host is missing".to_owned()));
        }
        Err(what) => return Err(damaged(0, what)),
    };
    let mut recording = Recording { host, frames: Vec::new(), damage: None };
    loop {
        match next_frame(&mut reader).and_then(|frame| frame.map(parse).transpose()) {
            Ok(Some(frame)) => recording.frames.push(frame),
            Ok(None) => break,
            Err(what) => {
                recording.damage = Some(damaged(recording.frames.len(), what));
                break;
            }
        }
    }
    Ok(recording)
}

fn first_line() -> String {
    format!("{MAGIC}{WIRE_VERSION}\n")
}

/// Reads the first line. `Ok(None)` if it is not that of a recording.
fn wire_version(reader: &mut impl BufRead) -> io::Result<Option<u32>> {
    let mut line = Vec::new();
    reader.take(MAX_FIRST_LINE).read_until(b'\n', &mut line)?;
    let version = line
        .strip_prefix(MAGIC.as_bytes())
        .and_then(|rest| rest.strip_suffix(b"\n"))
        .filter(|digits| digits.iter().all(u8::is_ascii_digit))
        .and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    Ok(version)
}

/// `Ok(None)` at a clean end.
fn next_frame(reader: &mut impl Read) -> Result<Option<(u8, Vec<u8>)>, String> {
    let mut head = Vec::with_capacity(5);
    reader.take(5).read_to_end(&mut head).map_err(|error| error.to_string())?;
    let &[kind, ref length @ ..] = head.as_slice() else {
        return Ok(None);
    };
    let bytes = <[u8; 4]>::try_from(length).map_err(|_| "cut off in a frame".to_owned())?;
    let length = u32::from_le_bytes(bytes);
    if length > MAX_FRAME {
        return Err(format!("a frame of {length} bytes"));
    }
    let mut body = Vec::new();
    reader.take(length.into()).read_to_end(&mut body).map_err(|error| error.to_string())?;
    if body.len() < length as usize {
        return Err("cut off in a frame".to_owned());
    }
    Ok(Some((kind, body)))
}

fn parse((kind, body): (u8, Vec<u8>)) -> Result<Frame, String> {
    match kind {
        RECORD => Ok(Frame::Record(Bytes::from(body))),
        FACT => serde_json::from_slice(&body).map(Frame::Fact).map_err(|error| error.to_string()),
        unknown => Err(format!("unknown frame kind {unknown}")),
    }
}

#[cfg(test)]
mod tests;
