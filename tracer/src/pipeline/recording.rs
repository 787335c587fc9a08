//! Recordings: the raw records of a live run, with the facts that userspace found besides, so
//! that a replay makes the same reports byte for byte.
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
/// No frame is longer; a length above is damage.
const MAX_FRAME: u32 = 1 << 20;

/// One frame behind the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of the ring.
    Record(Bytes),
    /// A fact.
    Fact(Fact),
}

/// Why a recording cannot be written or read.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is something already.
    #[error("{}: exists already; a recording replaces nothing", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// Not one of ours.
    #[error("{}: not an oomwhy recording (make one with `oomwhy --record FILE`)", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// Its wire version is none that this build reads.
    #[error(
        "{}: cannot read wire version {version}; this oomwhy reads {OLDEST_WIRE_VERSION} to \
         {WIRE_VERSION}\nhint: replay it with the oomwhy that recorded it", path.display()
    )]
    Version {
        /// Path of the file.
        path: PathBuf,
        /// Version in its first line.
        version: u32,
    },
    /// It ends in the middle of a frame, or a frame is damaged.
    #[error("{}: damaged after {whole} whole records: {what}; what comes before was used",
        path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Frames before the damage.
        whole: usize,
        /// What is wrong.
        what: String,
    },
}

/// Writes a recording, each frame with one write: a crash tears the last frame at most.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    path: PathBuf,
}

impl Recorder {
    /// Creates the file and writes its start. A file that has something in it is left alone.
    pub fn create(path: &Path, host: &Host) -> Result<Self, RecordingError> {
        let mut file = create_new(path);
        if file.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            file = File::options().write(true).open(path);
        }
        let file = file.map_err(|source| io_error(path, source))?;
        let meta = file.metadata().map_err(|source| io_error(path, source))?;
        if meta.is_file() && meta.len() > 0 {
            return Err(RecordingError::Exists { path: path.to_owned() });
        }
        let mut recorder = Self { file, path: path.to_owned() };
        let first_line = recorder.file.write_all(first_line().as_bytes());
        first_line.map_err(|source| io_error(path, source))?;
        recorder.frame(HOST, &json(host))?;
        Ok(recorder)
    }

    /// Adds a record of the ring.
    pub fn record(&mut self, record: &[u8]) -> Result<(), RecordingError> {
        self.frame(RECORD, record)
    }

    /// Adds a fact.
    pub fn fact(&mut self, fact: &Fact) -> Result<(), RecordingError> {
        self.frame(FACT, &json(fact))
    }

    fn frame(&mut self, kind: u8, body: &[u8]) -> Result<(), RecordingError> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let frame = [&[kind], length.to_le_bytes().as_slice(), body].concat();
        self.file.write_all(&frame).map_err(|source| io_error(&self.path, source))
    }
}

/// For its owner only: it holds command names and cgroup paths.
fn create_new(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Both types serialize into plain objects: that cannot fail.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn io_error(path: &Path, source: io::Error) -> RecordingError {
    RecordingError::Io { path: path.to_owned(), source }
}

/// A recording as far as it can be read, and what stopped the reading, if anything did.
#[derive(Debug)]
pub struct Recording {
    /// The host it was made on.
    pub host: Host,
    /// Its frames, in order.
    pub frames: Vec<Frame>,
    /// The damage that ended the reading.
    pub damage: Option<RecordingError>,
}

/// Reads a recording. A damaged end costs only what comes after the damage.
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
    let digits = line.strip_prefix(MAGIC.as_bytes()).and_then(|rest| rest.strip_suffix(b"\n"));
    let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_digit));
    Ok(digits.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok()))
}

/// `Ok(None)` at a clean end.
fn next_frame(reader: &mut impl Read) -> Result<Option<(u8, Vec<u8>)>, String> {
    let mut head = Vec::with_capacity(5);
    reader.take(5).read_to_end(&mut head).map_err(|error| error.to_string())?;
    let &[kind, ref length @ ..] = head.as_slice() else {
        return Ok(None);
    };
    let length = <[u8; 4]>::try_from(length).map_err(|_| "cut off in a frame".to_owned())?;
    let length = u32::from_le_bytes(length);
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
