//! Recordings: the raw records of a live run, and the facts that userspace found besides, so that a
//! replay makes the same reports byte for byte.
//!
//! A file is a first line with the wire version, then frames: kind u8, length u32 (little endian),
//! that many bytes. The first frame is the [`Host`]. Facts are JSON; records are the ring's bytes.

use std::{
    fmt::{self, Display, Formatter},
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use oomwhy_common::{OLDEST_WIRE_VERSION, WIRE_VERSION};
use serde::Serialize;
use thiserror::Error;

use crate::{
    fmt::{errors::write_hint, sanitize::shown, units::count},
    model::{facts::Fact, host::Host},
};

/// Start of the first line. The wire version in decimal and a newline follow.
const MAGIC: &str = "oomwhy-rec";
/// No first line is longer, in bytes.
const MAX_FIRST_LINE: u64 = 16;
const HOST: u8 = 0;
const RECORD: u8 = 1;
const FACT: u8 = 2;
/// Longest frame in bytes. A greater length is damage.
const MAX_FRAME: u32 = 1 << 20;
/// No name of a fact is longer, in bytes.
const MAX_NAME: usize = 32;

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
    /// The file cannot be created, read or written.
    #[error("cannot {action} the recording {}: {source}{}", shown(path), io_hint(action, source))]
    Io {
        /// "create", "read" or "write".
        action: &'static str,
        /// Path of the recording.
        path: PathBuf,
        /// Error of the file system. It is in the message, before the hint.
        #[source]
        source: io::Error,
    },
    /// The file exists and is not empty.
    #[error("{}: exists already\nhint: give another file, or remove this one", shown(path))]
    Exists {
        /// Path of the recording.
        path: PathBuf,
    },
    /// The file is not a recording.
    #[error("{}: not an oomwhy recording\nhint: make one with `oomwhy --record FILE`", shown(path))]
    Foreign {
        /// Path of the recording.
        path: PathBuf,
    },
    /// This build cannot read the wire version of the recording.
    #[error(
        "{}: cannot read wire version {version}; this oomwhy reads {OLDEST_WIRE_VERSION} to \
         {WIRE_VERSION}\nhint: replay it with the oomwhy that recorded it",
        shown(path)
    )]
    Version {
        /// Path of the recording.
        path: PathBuf,
        /// Version in its first line.
        version: u32,
    },
    /// It ends in the middle of a frame, or the length of a frame is damaged.
    #[error(
        "{}: damaged after {whole} complete frames: {what}; only the frames before were used{}\n\
         {DAMAGE_HINT}",
        shown(path),
        also(skipped)
    )]
    Damaged {
        /// Path of the recording.
        path: PathBuf,
        /// Number of frames before the damage.
        whole: usize,
        /// Description of the damage.
        what: String,
        /// Damaged frames before it.
        skipped: Skipped,
    },
    /// Some frames are damaged. The others were used.
    #[error("{}: {skipped}; the reports may be incomplete\n{DAMAGE_HINT}", shown(path))]
    Skipped {
        /// Path of the recording.
        path: PathBuf,
        /// How many frames are damaged, and the first of them.
        skipped: Skipped,
    },
    /// Records of the ring are damaged, or of a kind that this build does not know.
    #[error(
        "{}: {} cannot be decoded; the reports may be incomplete\n{DAMAGE_HINT}",
        shown(path),
        count(records, "record")
    )]
    Undecodable {
        /// Path of the recording.
        path: PathBuf,
        /// Number of records.
        records: u64,
    },
}

const DAMAGE_HINT: &str = "hint: copy the recording again from where it was made, if it is intact \
                           there";

/// Frames that were skipped, because only their content is damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Number of frames.
    pub count: u64,
    /// Number of the first of them in the file, from 1, and a description of its damage.
    pub first: Option<(u64, String)>,
}

impl Skipped {
    fn add(&mut self, number: u64, what: String) {
        self.count += 1;
        self.first.get_or_insert((number, what));
    }
}

impl Display for Skipped {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "skipped {}", count(self.count, "damaged frame"))?;
        match &self.first {
            Some((number, what)) if self.count == 1 => write!(out, ", number {number}: {what}"),
            Some((number, what)) => write!(out, ", the first is number {number}: {what}"),
            None => Ok(()),
        }
    }
}

fn also(skipped: &Skipped) -> String {
    if skipped.count == 0 { String::new() } else { format!("; before that {skipped}") }
}

/// The hint for an error of the file system.
fn io_hint(action: &str, error: &io::Error) -> &'static str {
    match (error.kind(), action) {
        (io::ErrorKind::NotFound, "read") => "\nhint: make a recording with `oomwhy --record FILE`",
        (io::ErrorKind::PermissionDenied, "read") => {
            "\nhint: run as root or as the owner of the recording"
        }
        _ => write_hint(error),
    }
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
        .map_err(|source| io_error("create", path, source))?;
        let meta = file.metadata().map_err(|source| io_error("create", path, source))?;
        if meta.is_file() && meta.len() > 0 {
            return Err(RecordingError::Exists { path: path.to_owned() });
        }
        let mut writer = Self { file, path: path.to_owned() };
        let written = writer.file.write_all(first_line().as_bytes());
        written.map_err(|source| io_error("write", path, source))?;
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
        self.file.write_all(&frame).map_err(|source| io_error("write", &self.path, source))
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

fn io_error(action: &'static str, path: &Path, source: io::Error) -> RecordingError {
    RecordingError::Io { action, path: path.to_owned(), source }
}

/// The readable part of a recording.
#[derive(Debug)]
pub struct Recording {
    /// The host that it was made on.
    pub host: Host,
    /// The frames after the host, in order.
    pub frames: Vec<Frame>,
    /// The damage, if any.
    pub damage: Option<RecordingError>,
}

/// Reads a whole recording.
pub fn read(path: &Path) -> Result<Recording, RecordingError> {
    let (host, mut reader) = Reader::open(path)?;
    let frames = reader.by_ref().collect();
    Ok(Recording { host, frames, damage: reader.damage() })
}

/// Reads the frames of a recording, one at a time. A frame is skipped if only its content is
/// damaged. If its length is damaged, or it is cut off, it ends there.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// Frames that were read, without the host, and the number of the next one in the file.
    whole: usize,
    number: u64,
    skipped: Skipped,
    end: Option<String>,
}

impl Reader {
    /// Opens a recording and reads the host that it was made on.
    pub(super) fn open(path: &Path) -> Result<(Host, Self), RecordingError> {
        let failed = |source| io_error("read", path, source);
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let version = wire_version(&mut file)
            .map_err(failed)?
            .ok_or_else(|| RecordingError::Foreign { path: path.to_owned() })?;
        if !(OLDEST_WIRE_VERSION..=WIRE_VERSION).contains(&version) {
            return Err(RecordingError::Version { path: path.to_owned(), version });
        }
        let host = read_host(&mut file);
        let (path, skipped) = (path.to_owned(), Skipped::default());
        // The first frame is the host.
        let mut reader = Self { path, file, whole: 0, number: 2, skipped, end: None };
        match host {
            Ok(host) => Ok((host, reader)),
            Err(what) => Err(reader.ended(what)),
        }
    }

    fn ended(&mut self, what: String) -> RecordingError {
        let skipped = std::mem::take(&mut self.skipped);
        RecordingError::Damaged { path: self.path.clone(), whole: self.whole, what, skipped }
    }

    /// The damage of the frames that were read, if any.
    pub(super) fn damage(mut self) -> Option<RecordingError> {
        match self.end.take() {
            Some(what) => Some(self.ended(what)),
            None if self.skipped.count > 0 => {
                Some(RecordingError::Skipped { path: self.path, skipped: self.skipped })
            }
            None => None,
        }
    }
}

impl Iterator for Reader {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        while self.end.is_none() {
            match next_frame(&mut self.file).map(|frame| frame.map(parse)) {
                Ok(Some(Ok(frame))) => {
                    self.whole += 1;
                    self.number += 1;
                    return Some(frame);
                }
                Ok(Some(Err(what))) => self.skipped.add(self.number, what),
                Ok(None) => return None,
                Err(what) => self.end = Some(what),
            }
            self.number += 1;
        }
        None
    }
}

/// Reads the first frame. Nothing can be replayed without it.
fn read_host(reader: &mut impl Read) -> Result<Host, String> {
    match next_frame(reader)? {
        Some((HOST, body)) => serde_json::from_slice(&body)
            .map_err(|_| "the description of the host cannot be read".to_owned()),
        _ => Err("the description of the host is missing".to_owned()),
    }
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
        FACT => serde_json::from_slice(&body).map(Frame::Fact).map_err(|_| match name(&body) {
            Some(name) => format!("the fact `{name}` cannot be read"),
            None => "a fact cannot be read".to_owned(),
        }),
        unknown => Err(format!("unknown frame kind {unknown}")),
    }
}

/// The name of a fact that is damaged: its first string.
fn name(body: &[u8]) -> Option<&str> {
    let name = str::from_utf8(body.split(|&byte| byte == b'"').nth(1)?).ok()?;
    let is_name = |byte| matches!(byte, b'a'..=b'z' | b'_');
    (!name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests;
