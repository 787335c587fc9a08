//! Where a command writes its data: stdout, or the file of `--output-file`. `watch` appends to that
//! file. Other commands empty it, so it must not be a file that the command reads or records.

use std::{
    fs::{self, File, Metadata},
    io::{self, IsTerminal, Write},
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anstream::{AutoStream, ColorChoice};

use super::Failure;
use crate::{
    cli::Destination,
    commands::exit::Exit,
    fmt::{errors::write_hint, sanitize::shown, terminal_json::TerminalJson},
    history,
    pipeline::dedup_writer::{self, SharedDestination, lock},
};

/// Files that a command reads or writes besides its output.
#[derive(Clone, Copy, Debug)]
pub(super) enum Used<'a> {
    /// A recording that is replayed or made.
    Recording(&'a Path),
    /// A file that is read; `-` is stdin.
    Input(&'a Path),
    /// Every file below a directory.
    Tree(&'a Path),
    /// The history in a directory.
    History(&'a Path),
}

impl Used<'_> {
    /// Whether writing to `output` would destroy it.
    fn has(self, output: &Path) -> bool {
        match self {
            Self::Input(path) if path == Path::new("-") => is_stdin(output),
            Self::Recording(path) | Self::Input(path) => is_same(path, output),
            Self::Tree(path) => {
                let (tree, file) = (fs::canonicalize(path), fs::canonicalize(output));
                tree.is_ok_and(|tree| file.is_ok_and(|it| it.is_file() && it.starts_with(tree)))
            }
            Self::History(path) => {
                history::files(path).iter().any(|segment| is_same(segment, output))
            }
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Recording(_) => "is the recording itself",
            Self::Input(_) => "is a file that this command reads",
            Self::Tree(_) => "is in a directory that this command reads",
            Self::History(_) => "is a file of the history",
        }
    }
}

/// An open destination.
pub(super) struct Output {
    out: Box<dyn Write>,
    is_terminal: bool,
}

impl Output {
    /// For text. Wrap it in a [`crate::fmt::lines::TextOut`], or in a sink that has one.
    pub(super) fn text(self, color: ColorChoice) -> AutoStream<Box<dyn Write>> {
        AutoStream::new(self.out, color)
    }

    /// For JSON: byte for byte, but a terminal gets it with more `\u` escapes.
    pub(super) fn json(self) -> Box<dyn Write> {
        if self.is_terminal { Box::new(TerminalJson::new(self.out)) } else { self.out }
    }

    /// For the formats of other tools, byte for byte.
    pub(super) fn machine(self) -> Box<dyn Write> {
        self.out
    }
}

/// An open destination that a thread can write to.
pub(super) struct LiveOutput {
    out: Box<dyn Write + Send>,
    is_terminal: bool,
}

impl LiveOutput {
    /// The destination of several runs, which its thread shares with the others.
    pub(super) fn shared(to: &Destination, out: SharedDestination) -> Self {
        let is_terminal = to.path().is_none() && is_terminal();
        Self { out: Box::new(Shared(out)), is_terminal }
    }

    /// The same destination behind a queue. So a record is made safe for a terminal before it is
    /// queued.
    pub(super) fn through<Q: Write + 'static>(
        self,
        queue: impl FnOnce(Box<dyn Write + Send>) -> io::Result<Q>,
    ) -> io::Result<Output> {
        Ok(Output { out: Box::new(queue(self.out)?), is_terminal: self.is_terminal })
    }
}

struct Shared(SharedDestination);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        lock(&self.0).flush()
    }
}

/// Whether stdout is a terminal.
pub(super) fn is_terminal() -> bool {
    stdout_of_process().is_terminal()
}

#[expect(clippy::disallowed_methods, reason = "here is the door of all data")]
pub(super) fn stdout_of_process() -> io::Stdout {
    io::stdout()
}

/// Opens stdout, or the file of `--output-file`, which must not be in use.
pub(super) fn open_output(to: &Destination, used: &[Used<'_>]) -> Result<Output, Failure> {
    let Some(path) = to.path() else {
        return Ok(stdout());
    };
    refuse_used(to, used)?;
    let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
    let is_terminal = file.is_terminal();
    Ok(Output { is_terminal, ..named(to, file) })
}

/// Opens stdout, or the file of `--output-file` to append to it. The caller names it in errors.
pub(super) fn open_appended(to: &Destination, used: &[Used<'_>]) -> Result<LiveOutput, Failure> {
    let Some(path) = to.path() else {
        let out = Box::new(TornLine::ended(stdout_of_process()));
        return Ok(LiveOutput { out, is_terminal: is_terminal() });
    };
    refuse_used(to, used)?;
    let out = AppendedFile::open(path).map_err(|error| cannot_write(path, &error))?;
    let is_terminal = out.file.is_terminal();
    Ok(LiveOutput { out: Box::new(out), is_terminal })
}

/// Opens stdout, or the file of `--output-file`, for several runs. The next one looks up the
/// reports that this one wrote.
pub(super) fn open_shared(
    to: &Destination,
    used: &[Used<'_>],
) -> Result<SharedDestination, Failure> {
    let out: Box<dyn dedup_writer::Destination> = match to.path() {
        None => {
            let stdout = stdout_of_process().as_fd().try_clone_to_owned();
            let stdout = stdout.map(File::from).map_err(|error| Failure::runtime(&error))?;
            Box::new(TornLine::ended(stdout))
        }
        Some(path) => {
            refuse_used(to, used)?;
            Box::new(AppendedFile::open(path).map_err(|error| cannot_write(path, &error))?)
        }
    };
    Ok(Arc::new(Mutex::new(out)))
}

/// Opens a file to append. It may have command lines of all users, so others cannot read it.
fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o640).open(path)
}

/// A file that is opened again if another file has its name, as after a rotation. A flush ends a
/// record. A record that does not fit on the disk leaves nothing behind: the next one would be
/// appended to its part, and could not be read.
struct AppendedFile {
    path: PathBuf,
    file: File,
    /// The record that is being written. `None` between two records, so that no record is split
    /// between two files.
    record: Option<Written>,
}

/// The part of a record that is in the file, bytes.
struct Written {
    start: u64,
    length: u64,
}

impl AppendedFile {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append(path)?, record: None })
    }

    fn begin_record(&mut self) -> io::Result<Written> {
        if self.is_moved()? {
            self.file = append(&self.path)?;
        }
        Ok(Written { start: self.file.metadata()?.len(), length: 0 })
    }

    /// Removes a part of a record, unless somebody else has appended to the file. Devices and
    /// pipes have no length.
    fn cut(&self, Written { start, length }: Written) {
        let is_at_end = |it: Metadata| it.is_file() && it.len() == start + length;
        if length > 0 && self.file.metadata().is_ok_and(is_at_end) {
            // Without it the record is counted as lost all the same.
            let _ = self.file.set_len(start);
        }
    }

    fn is_moved(&self) -> io::Result<bool> {
        let id = |file: &Metadata| (file.dev(), file.ino());
        let now = fs::metadata(&self.path).ok();
        Ok(now.as_ref().map(id) != Some(id(&self.file.metadata()?)))
    }
}

impl dedup_writer::Destination for AppendedFile {
    fn file(&mut self) -> io::Result<&File> {
        self.record = Some(self.begin_record()?);
        Ok(&self.file)
    }
}

impl Write for AppendedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut record = match self.record.take() {
            Some(record) => record,
            None => self.begin_record()?,
        };
        match self.file.write(bytes) {
            Ok(n_bytes) => {
                record.length += n_bytes as u64;
                self.record = Some(record);
                Ok(n_bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.record = Some(record);
                Err(error)
            }
            Err(error) => {
                self.cut(record);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.record = None;
        self.file.flush()
    }
}

/// An output that cannot be cut. If it failed in the middle of a record, the next record begins on
/// a line of its own.
struct TornLine<W> {
    out: W,
    /// A part of the current record is written.
    in_record: bool,
    is_torn: bool,
}

impl<W> TornLine<W> {
    const fn ended(out: W) -> Self {
        Self { out, in_record: false, is_torn: false }
    }
}

impl<W: Write> TornLine<W> {
    fn begin_line(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.out.write_all(b"\n")?;
            self.is_torn = false;
        }
        Ok(())
    }
}

impl dedup_writer::Destination for TornLine<File> {
    fn file(&mut self) -> io::Result<&File> {
        self.begin_line()?;
        Ok(&self.out)
    }
}

impl<W: Write> Write for TornLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin_line()?;
        let written = self.out.write(bytes);
        match &written {
            Ok(_) => self.in_record = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.is_torn = std::mem::take(&mut self.in_record),
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.in_record = false;
        self.out.flush()
    }
}

/// The name of the destination in messages.
pub(super) fn name(to: &Destination) -> &Path {
    to.path().unwrap_or(Path::new("stdout"))
}

/// Refuses an output file that the command reads or records.
pub(super) fn refuse_used(to: &Destination, used: &[Used<'_>]) -> Result<(), Failure> {
    let Some(output) = to.path() else {
        return Ok(());
    };
    let Some(clash) = used.iter().find(|it| it.has(output)) else {
        return Ok(());
    };
    let message = format!(
        "--output-file: {} {}\nhint: name another file, so that nothing is overwritten",
        shown(output),
        clash.what()
    );
    Err(Failure { exit: Exit::Usage, message })
}

pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}{}", shown(path), write_hint(error));
    Failure { exit: Exit::Failure, message }
}

/// Stdout, with errors that name it.
pub(super) fn stdout() -> Output {
    named(&Destination::default(), stdout_of_process())
}

/// An output whose errors name the destination.
fn named(to: &Destination, out: impl Write + 'static) -> Output {
    let is_terminal = to.path().is_none() && is_terminal();
    Output { out: Box::new(Named { out, name: name(to).to_owned() }), is_terminal }
}

struct Named<W> {
    out: W,
    name: PathBuf,
}

impl<W> Named<W> {
    /// A closed pipe and an interrupted call are no failures of the destination.
    fn name<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, format!("cannot write {}: {error}", shown(&self.name))),
        })
    }
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.name(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.name(result)
    }
}

/// Whether two paths are the same file, existing or not. Devices such as /dev/null may be used
/// twice.
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => is_same_file(&one, &other),
        (Err(_), Err(_)) => resolved(one) == resolved(other),
        _ => false,
    }
}

fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// The path of a file that does not exist yet.
fn resolved(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = fs::canonicalize(parent.unwrap_or(Path::new(".")));
    match (parent, path.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

fn is_stdin(output: &Path) -> bool {
    let (Ok(stdin), Ok(output)) = (rustix::fs::fstat(io::stdin()), fs::metadata(output)) else {
        return false;
    };
    output.is_file() && (output.dev(), output.ino()) == (stdin.st_dev, stdin.st_ino)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{self, Write},
        os::unix::fs::PermissionsExt as _,
        sync::{Arc, Mutex},
    };

    use super::{AppendedFile, File, LiveOutput, Output, TornLine};

    #[test]
    fn json_is_escaped_on_a_terminal_only() {
        let folder = tempfile::tempdir().unwrap();
        let json = "\"\u{9b}2J\u{7f}\u{202e}ä\"\n";
        for (is_terminal, expected) in [(true, "\"\\u009b2J\\u007f\\u202eä\"\n"), (false, json)] {
            let path = folder.path().join("out");
            let output = Output { out: Box::new(File::create(&path).unwrap()), is_terminal };
            output.json().write_all(json.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
            let queued = Queued::default();
            let live = LiveOutput { out: Box::new(io::sink()), is_terminal };
            let output = live.through(|_| Ok(queued.clone())).unwrap();
            output.json().write_all(json.as_bytes()).unwrap();
            assert_eq!(*queued.0.lock().unwrap(), expected.as_bytes(), "it is queued escaped");
        }
    }

    #[derive(Clone, Default)]
    struct Queued(Arc<Mutex<Vec<u8>>>);

    impl Write for Queued {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn rotated_file_is_opened_again_between_two_records() {
        let folder = tempfile::tempdir().unwrap();
        let [path, rotated] = ["out", "out.1"].map(|name| folder.path().join(name));
        fs::write(&path, "earlier\n").unwrap();
        let mut out = AppendedFile::open(&path).unwrap();
        out.write_all(b"half a ").unwrap();
        fs::rename(&path, &rotated).unwrap();
        out.write_all(b"record\n").unwrap();
        out.flush().unwrap();
        out.write_all(b"another\n").unwrap();
        assert_eq!(fs::read_to_string(&rotated).unwrap(), "earlier\nhalf a record\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "another\n");
        let others = fs::metadata(&path).unwrap().permissions().mode() & 0o007;
        assert_eq!(others, 0, "it may have command lines of all users");
    }

    #[test]
    fn part_of_a_record_is_cut_unless_somebody_else_has_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut out = AppendedFile::open(&path).unwrap();
        out.write_all(b"first\n").unwrap();
        out.flush().unwrap();
        out.write_all(b"half").unwrap();
        let record = out.record.take().unwrap();
        out.cut(record);
        out.write_all(b"second\n").unwrap();
        out.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\nsecond\n");
        out.write_all(b"half").unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"other\n").unwrap();
        let record = out.record.take().unwrap();
        out.cut(record);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\nsecond\nhalfother\n");
    }

    /// Takes a few bytes, and then fails for a while.
    struct Full {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n_bytes = bytes.len().min(self.room);
            if n_bytes == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.taken.extend_from_slice(&bytes[..n_bytes]);
            self.room -= n_bytes;
            Ok(n_bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn record_after_half_a_record_is_on_a_line_of_its_own() {
        let mut out = TornLine::ended(Full { taken: Vec::new(), room: 10 });
        out.write_all(b"first\n").unwrap();
        out.flush().unwrap();
        out.write_all(b"second\n").unwrap_err();
        out.write_all(b"third\n").unwrap_err();
        out.out.room = 100;
        out.write_all(b"fourth\n").unwrap();
        out.flush().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.out.taken), "first\nseco\nfourth\n");
    }

    #[test]
    fn truncated_file_has_no_hole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut out = AppendedFile::open(&path).unwrap();
        out.write_all(b"first\n").unwrap();
        out.flush().unwrap();
        fs::write(&path, "").unwrap();
        out.write_all(b"second\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
    }
}
