//! `oomwhy symbolize`: adds names to the user frames of stored reports.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read as _, Write as _},
    path::Path,
};

use serde_json::{Map, Value};

use super::{
    Failure, cannot_read,
    json_lines::{self, Stopped, Tally},
    output_file::{Used, open_output, refuse_used},
};
use crate::{
    cli::SymbolizeArgs,
    commands::exit::Exit,
    fmt::{lines::log_stderr, sanitize::shown},
    model::names::FileOffset,
    symbolize::user::{DEBUG_DIRECTORY, ElfFiles, OffsetNamer},
};

pub(crate) fn symbolize(arguments: &SymbolizeArgs) -> Result<(), Failure> {
    let elf = arguments.elf.iter().map(|path| Used::Input(path));
    let debug = arguments.debug_dir.iter().map(|path| Used::Tree(path));
    let used: Vec<Used<'_>> = elf.chain(debug).chain([Used::Input(&arguments.file)]).collect();
    refuse_used(&arguments.to, &used)?;
    let namer = OffsetNamer::new(elf_files(arguments)?);
    let input = open_input(&arguments.file)?;
    let mut out = open_output(&arguments.to, &used)?.json();
    let tally = json_lines::read(input, |report: Map<String, Value>| {
        let mut report = Value::Object(report);
        name_frames(&mut report, &namer);
        writeln!(out, "{report}").and_then(|()| out.flush())
    });
    let file = shown(&arguments.file);
    match tally {
        Ok(Tally { values: 0, damaged: 1.., first_damaged }) => {
            let message = format!("cannot read a report in {file}, line {first_damaged}");
            Err(failure(format!("{message}\n{}", json_lines::HINT)))
        }
        Ok(tally) => {
            if let Some(message) = tally.message() {
                log_stderr(format!("oomwhy: {file}: {message}"));
            }
            Ok(())
        }
        Err(Stopped::Unreadable(error)) => Err(cannot_read(&file, &error)),
        Err(Stopped::Handler(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stopped::Handler(error)) => Err(Failure::runtime(&error)),
    }
}

fn failure(message: String) -> Failure {
    Failure { exit: Exit::Failure, message }
}

fn open_input(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| cannot_read(&shown(path), &error))?;
    Ok(Box::new(BufReader::new(file)))
}

fn elf_files(arguments: &SymbolizeArgs) -> Result<ElfFiles, Failure> {
    let mut files = ElfFiles::default();
    for path in &arguments.elf {
        let name = shown(path);
        let readable = File::open(path).and_then(|mut file| file.read(&mut [0]));
        readable.map_err(|error| cannot_read(&name, &error))?;
        if files.add(path, &path.to_string_lossy()).is_none() {
            return Err(failure(format!(
                "cannot read a build id from the ELF file {name}\n\
                 hint: link the program with --build-id, and name the file that ran"
            )));
        }
    }
    for directory in &arguments.debug_dir {
        fs::read_dir(directory).map_err(|error| {
            let directory = shown(directory);
            let hint = "hint: name the directory that has .build-id, as /usr/lib/debug has";
            failure(format!("cannot read the debug directory {directory}: {error}\n{hint}"))
        })?;
        files.add_debug_directory(directory);
    }
    if arguments.debug_dir.is_empty() {
        files.add_debug_directory(Path::new(DEBUG_DIRECTORY));
    }
    Ok(files)
}

/// Adds missing names to every object with a build id and a file offset, at any depth. Other keys
/// stay as they are.
fn name_frames(value: &mut Value, namer: &OffsetNamer) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| name_frames(item, namer)),
        Value::Object(fields) => {
            if let Some(offset) = unnamed_offset(fields)
                && let Some(name) = namer.name(&offset)
            {
                let mut fill = |key: &str, value: Option<Value>| {
                    if let Some(value) = value {
                        fields.entry(key).or_insert(value);
                    }
                };
                fill("symbol", name.symbol.map(Value::from));
                fill("offset", name.offset.map(Value::from));
                fill("file", name.file.map(Value::from));
            }
            fields.values_mut().for_each(|field| name_frames(field, namer));
        }
        _ => {}
    }
}

fn unnamed_offset(frame: &Map<String, Value>) -> Option<FileOffset> {
    let build_id = frame.get("build_id")?.as_str()?.to_owned();
    let file_offset = frame.get("file_offset")?.as_u64()?;
    (!frame.contains_key("symbol")).then_some(FileOffset { build_id, file_offset })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fmt::timing::assert_linear;

    #[test]
    fn frames_at_any_depth_get_names_and_other_keys_stay() {
        let mut files = ElfFiles::default();
        let build_id = files.add("/proc/self/exe".as_ref(), "/bin/app").unwrap();
        let mut report = json!({
            "later_key": 1,
            "victims": [{ "user_stack": [
                { "build_id": build_id, "file_offset": u64::MAX / 2 },
                { "build_id": build_id, "file_offset": 1, "symbol": "known" },
                { "build_id": "ff", "file_offset": 1 },
            ] }],
        });
        name_frames(&mut report, &OffsetNamer::new(files));
        let stack = &report["victims"][0]["user_stack"];
        assert_eq!(stack[0]["file"], "/bin/app");
        assert_eq!((&stack[1]["symbol"], &stack[1]["file"]), (&json!("known"), &Value::Null));
        assert_eq!(stack[2], json!({ "build_id": "ff", "file_offset": 1 }));
        assert_eq!(report["later_key"], 1);
    }

    #[test]
    fn each_file_is_parsed_once() {
        let mut files = ElfFiles::default();
        let build_id = files.add("/proc/self/exe".as_ref(), "/bin/app").unwrap();
        let name = |frames: usize| {
            let namer = OffsetNamer::new(files.clone());
            let frame = json!({ "build_id": build_id, "file_offset": 1 });
            name_frames(&mut json!(vec![frame; frames]), &namer);
        };
        assert_linear(|| name(1), || name(16));
    }
}
