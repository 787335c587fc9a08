//! pprof's format: a gzipped protobuf, as `go tool pprof` and the viewers of profiles read it.
//!
//! Messages are those of proto/profile.proto in github.com/google/pprof, as far as they are used.

use std::{
    collections::HashMap,
    io::{self, Write as _},
};

use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use prost::Message;

use super::{Named, Sample, samples, title};
use crate::{
    fmt::sanitize::sanitize,
    model::report::{Frame, OomReport},
};

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<ProtoSample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoSample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
    #[prost(int64, tag = "3")]
    number: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// The profile: samples of bytes, with `process` and `pid` as labels.
///
/// # Errors
/// Never: it writes into memory.
pub(crate) fn pprof(report: &OomReport) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&profile(report).encode_to_vec())?;
    encoder.finish()
}

fn profile(report: &OomReport) -> Profile {
    let mut tables = Tables::default();
    // The first string is the empty one.
    tables.text("");
    let unit = ValueType { kind: tables.text("charged"), unit: tables.text("bytes") };
    let samples: Vec<Sample<'_>> = report.growth.iter().flat_map(samples).collect();
    // Readers name the profile after the first mapping, so that must not be the kernel.
    for frame in samples.iter().flat_map(|sample| &sample.frames).filter(|it| !it.is_kernel) {
        tables.mapping_of(frame);
    }
    let encoded = samples.iter().map(|sample| {
        let process =
            Label { key: tables.text("process"), text: tables.text(&sample.comm), number: 0 };
        let key = tables.text("pid");
        let pid = sample.pid.map(|number| Label { key, text: 0, number: i64::from(number) });
        ProtoSample {
            location_id: sample.frames.iter().map(|frame| tables.location(frame)).collect(),
            value: vec![i64::try_from(sample.bytes).unwrap_or(i64::MAX)],
            label: std::iter::once(process).chain(pid).collect(),
        }
    });
    let sample = encoded.collect();
    let comment = vec![tables.text(&title(report))];
    let time = report.time.map_or(0, Timestamp::as_nanosecond);
    Profile {
        sample_type: vec![unit],
        sample,
        mapping: tables.mappings,
        location: tables.locations,
        function: tables.functions,
        string_table: tables.texts,
        time_nanos: i64::try_from(time).unwrap_or_default(),
        comment,
    }
}

/// The tables that samples refer to, with each entry once.
#[derive(Default)]
struct Tables {
    texts: Vec<String>,
    text_ids: HashMap<String, i64>,
    mappings: Vec<Mapping>,
    mapping_ids: HashMap<(String, String), u64>,
    functions: Vec<Function>,
    function_ids: HashMap<(String, String), u64>,
    locations: Vec<Location>,
    location_ids: HashMap<(String, u64, u64), u64>,
}

impl Tables {
    fn text(&mut self, text: &str) -> i64 {
        if let Some(id) = self.text_ids.get(text) {
            return *id;
        }
        let id = i64::try_from(self.texts.len()).unwrap_or_default();
        self.texts.push(text.to_owned());
        self.text_ids.insert(text.to_owned(), id);
        id
    }

    fn location(&mut self, named: &Named<'_>) -> u64 {
        let Named { name, frame, .. } = named;
        let mapping_id = self.mapping_of(named);
        let address = address_of(frame);
        let key = (name.clone(), mapping_id, address);
        if let Some(id) = self.location_ids.get(&key) {
            return *id;
        }
        let function_id = self.function(name, &file(named));
        let id = next(self.locations.len());
        let line = vec![Line { function_id }];
        self.locations.push(Location { id, mapping_id, address, line });
        self.location_ids.insert(key, id);
        id
    }

    fn mapping_of(&mut self, named: &Named<'_>) -> u64 {
        self.mapping(file(named), named.frame.build_id.clone().unwrap_or_default())
    }

    fn mapping(&mut self, file: String, build_id: String) -> u64 {
        let key = (file, build_id);
        if let Some(id) = self.mapping_ids.get(&key) {
            return *id;
        }
        let id = next(self.mappings.len());
        let (filename, build_id) = (self.text(&key.0), self.text(&key.1));
        let memory_limit = u64::MAX;
        self.mappings.push(Mapping { id, memory_limit, filename, build_id, has_functions: true });
        self.mapping_ids.insert(key, id);
        id
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let key = (name.to_owned(), file.to_owned());
        if let Some(id) = self.function_ids.get(&key) {
            return *id;
        }
        let id = next(self.functions.len());
        let (name, filename) = (self.text(name), self.text(file));
        self.functions.push(Function { id, name, system_name: name, filename });
        self.function_ids.insert(key, id);
        id
    }
}

/// The file or the kernel module that holds the code.
fn file(named: &Named<'_>) -> String {
    let Named { is_kernel, frame, .. } = named;
    let file = if *is_kernel {
        frame.module.as_deref().or(Some("[kernel.kallsyms]"))
    } else {
        frame.file.as_deref()
    };
    file.map(|file| sanitize(file.as_bytes())).unwrap_or_default()
}

/// Offset in the file, else the address.
fn address_of(frame: &Frame) -> u64 {
    let ip = || u64::from_str_radix(frame.ip.as_deref()?.strip_prefix("0x")?, 16).ok();
    frame.file_offset.or_else(ip).unwrap_or_default()
}

/// Ids begin with 1.
fn next(length: usize) -> u64 {
    length as u64 + 1
}
