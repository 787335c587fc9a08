//! Where a command writes its data: stdout, or the file of `--output-file`. Opening that file
//! empties it, so it must not be a file that the command reads or records.

use std::{
    fs::{self, File, Metadata},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Failure;
use crate::{cli::Destination, commands::exit::Exit, fmt::errors::write_hint, history};

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

/// Opens stdout, or the file of `--output-file`, which must not be in use.
pub(super) fn open_output(to: &Destination, used: &[Used<'_>]) -> Result<Box<dyn Write>, Failure> {
    let Some(path) = to.path() else {
        return Ok(stdout());
    };
    refuse_used(to, used)?;
    let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
    Ok(named(to, file))
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
        output.display(),
        clash.what()
    );
    Err(Failure { exit: Exit::Usage, message })
}

pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}{}", path.display(), write_hint(error));
    Failure { exit: Exit::Failure, message }
}

/// Stdout, with errors that name it.
pub(super) fn stdout() -> Box<dyn Write> {
    Box::new(Named { out: io::stdout(), name: PathBuf::from("stdout") })
}

/// An output whose errors name the destination.
pub(super) fn named(to: &Destination, out: impl Write + 'static) -> Box<dyn Write> {
    let name = to.path().unwrap_or(Path::new("stdout")).to_owned();
    Box::new(Named { out, name })
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
            kind => io::Error::new(kind, format!("cannot write {}: {error}", self.name.display())),
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
