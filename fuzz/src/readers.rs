//! Each reader of bytes that anybody may have written, as a function of these bytes, and what must
//! hold for its result. The fuzz targets call them with random bytes, and `tracer/tests` with the
//! kept inputs.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use jiff::tz::TimeZone;
use oomwhy::testing::{
    Context, Form, JsonSink, Lines, Log, OomReport, Outputs, Pipeline, PipelineConfig, Record,
    answer_user_symbols, container_of, decodes, render, replay, search_history,
};

use crate::terminal::unsafe_character;

/// A file or a directory in memory for the input of a reader, by its name.
fn scratch(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/oomwhy-readers-{}-{name}", std::process::id()))
}

/// The records of the probes: in a recording, and in the journal of pinned probes.
pub fn wire_record(data: &[u8]) {
    // A record that is longer than it says decodes as without the rest.
    if decodes(data) {
        assert!(decodes(&[data, b"rest"].concat()));
    }
}

/// Text that anybody may have written to a kernel log, or piped into `oomwhy explain`. Every victim
/// is named in a line of the log, and every report can be written as JSON.
pub fn kernel_log(data: &[u8]) {
    let mut lines = Lines::new(data);
    let mut log = Log::new(Context { swap_total_bytes: Some(0), ..Context::default() });
    while let Ok(Some(line)) = lines.next_line() {
        log.line(line);
        check_log(&log.done(), data);
    }
    check_log(&log.finish(), data);
}

fn check_log(reports: &[OomReport], data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let named: BTreeSet<i32> = text
        .split("Killed process ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect();
    for report in reports {
        // The escapes of /dev/kmsg can form these words.
        if !text.contains("\\x") {
            for victim in &report.victims {
                assert!(named.contains(&victim.tid.unwrap_or(victim.pid)), "{victim:?}");
            }
        }
        assert!(serde_json::to_vec(report).is_ok());
    }
}

/// `oomwhy replay FILE`: its records replace those of the kernel.
pub fn recording(data: &[u8]) {
    let path = scratch("recording");
    fs::write(&path, data).unwrap();
    let out = Shared::default();
    // An error is a valid result.
    let _ = replay(&path, |host| {
        let mut outputs = Outputs::default();
        outputs.add(JsonSink::new(out.clone()));
        Pipeline::new(PipelineConfig::new(host, outputs))
    });
    for line in out.0.borrow().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        serde_json::from_slice::<Record>(line).unwrap();
    }
}

/// The output of a sink. It outlives the pipeline.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The elements of a page. Anything else would come from the report.
const ELEMENTS: &str = "html head meta title style body main article header section h1 h2 h3 p b i \
    span div dl dt dd ul ol li time code pre details summary table thead tbody tr th td figure \
    figcaption svg path polyline line img";
/// The flame graph. Within an image, browsers run no script and fetch nothing.
const IMAGE: &str = "data:image/svg+xml,";

/// `oomwhy explain FILE` with a report: the text has no escapes but colors, the page no foreign
/// elements.
pub fn explanation(data: &[u8]) {
    let Ok(record) = Record::from_json(data) else { return };
    for form in [Form::Text, Form::Html] {
        let mut page = Vec::new();
        render(std::slice::from_ref(&record), form, TimeZone::UTC, &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        if form == Form::Html {
            check_page(&page);
        }
        assert_eq!(unsafe_character(&page), None);
    }
}

/// A page has only known elements, and no attribute that runs or fetches anything.
fn check_page(page: &str) {
    let (_, body) = page.split_once("</head>").unwrap();
    for tag in body.split('<').skip(1) {
        let name = tag.trim_start_matches('/').split(['>', ' ']).next().unwrap();
        assert!(ELEMENTS.split_whitespace().any(|it| it == name), "<{tag}");
        let attributes = tag.split('>').next().unwrap();
        let (names, values): (Vec<_>, Vec<_>) =
            attributes.split('"').enumerate().partition(|(index, _)| index % 2 == 0);
        for (_, attribute) in names {
            assert!(!attribute.contains(" on") && !attribute.contains("href"), "<{tag}");
        }
        if name == "img" {
            assert!(values.first().is_some_and(|(_, source)| source.starts_with(IMAGE)), "<{tag}");
        }
    }
}

/// A segment of a history, plain and compressed: every record that is found has a line.
pub fn history_segment(data: &[u8]) {
    let directory = scratch("history");
    for name in ["20261123T092107.123Z-2f0e7d5c.jsonl", "20261123T092107.123Z-2f0e7d5c.jsonl.gz"] {
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), data).unwrap();
        let (found, lines) = search_history(&directory);
        assert_eq!(found, lines);
        fs::remove_dir_all(&directory).unwrap();
    }
}

/// The files that the helper process reads for user stacks: an ELF file and a perf map.
pub fn helper_input(data: &[u8]) {
    let path = scratch("helper");
    fs::write(&path, data).unwrap();
    let offsets: Vec<String> = [0, 1, 0x1000, u64::MAX]
        .iter()
        .map(|offset| format!(r#"{{"build_id":"{}","file_offset":{offset}}}"#, "ab".repeat(20)))
        .collect();
    let addresses: Vec<String> = [0x1000, 0x40_1000]
        .iter()
        .flat_map(|ip| {
            [
                format!(r#"{{"ip":{ip},"in_file":null}}"#),
                format!(r#"{{"ip":{ip},"in_file":[0,{ip}]}}"#),
                format!(r#"{{"ip":{ip},"in_file":null,"executable":0}}"#),
            ]
        })
        .collect();
    let (offsets, addresses) = (offsets.join(","), addresses.join(","));
    let files = r#"[{"descriptor":0,"shown":"/bin/app"}]"#;
    let request = format!(
        r#"{{"offsets":[{offsets}],"addresses":[{addresses}],"files":{files},"perf_maps":[1]}}"#
    );
    let descriptors = [&path; 2].map(|path| OwnedFd::from(fs::File::open(path).unwrap()));
    let response = answer_user_symbols(request.as_bytes(), descriptors.into()).unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&response).is_ok());
}

const ID: &str = "9e073649debeec6d511391c9ec7627ee67ce3a3fb508b0fa0437a97f8e58ba98";

/// The files of container runtimes. Names have at most 256 characters; a user's file names no pod.
pub fn container_config(data: &[u8]) {
    let root = scratch("containers");
    fs::create_dir_all(&root).unwrap();
    // Only a user's own files count, in cgroups of that user.
    let me = fs::metadata(&root).unwrap().uid();
    let session = format!("/user.slice/user-{me}.slice/user@{me}.service/libpod-ID.scope");
    let userdata = format!("run/user/{me}/containers/overlay-containers/ID/userdata/config.json");
    for (file, cgroup) in [
        ("run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json", "/kubepods/pod1/ID"),
        ("var/lib/docker/containers/ID/config.v2.json", "/docker/ID"),
        (
            "var/lib/containers/storage/overlay-containers/containers.json",
            "/libpod_parent/libpod-ID",
        ),
        (&userdata, &session),
    ] {
        let file = root.join(file.replace("ID", ID));
        write(&file, data);
        let passwd = format!("me:x:{me}:{me}::/home/me:/bin/sh\n");
        write(&root.join("etc/passwd"), passwd.as_bytes());
        let cgroup = cgroup.replace("ID", ID);
        fs::create_dir_all(root.join("cgroup").join(&cgroup[1..])).unwrap();
        let container = container_of(&root, &cgroup);
        let is_users = cgroup.starts_with("/user.slice");
        for key in ["name", "image", "pod", "namespace", "pod_uid"] {
            let name = container[key].as_str().unwrap_or_default();
            assert!(name.chars().count() <= 256, "{key}");
            assert!(!is_users || !key.starts_with("pod") || name.is_empty(), "{key}: {name}");
        }
        fs::remove_dir_all(&root).unwrap();
    }
}

fn write(file: &Path, data: &[u8]) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, data).unwrap();
}

/// The path of a cgroup: all names that come from it stand in it, and what is nested is a claim.
pub fn cgroup_path(data: &[u8]) {
    let path = String::from_utf8_lossy(data);
    let container = container_of(Path::new("/nowhere"), &path);
    let id = container["id"].as_str().unwrap_or_default();
    assert!(path.contains(id));
    for nested in container["nested"].as_array().into_iter().flatten() {
        assert_eq!(nested["claimed"], true);
    }
}

/// Reads an input, and fails if the result is wrong.
pub type Reader = fn(&[u8]);

/// A reader by its name, which is that of its fuzz target and of the folder of its kept inputs.
pub const READERS: [(&str, Reader); 8] = [
    ("cgroup_path", cgroup_path),
    ("container_config", container_config),
    ("explanation", explanation),
    ("helper_input", helper_input),
    ("history_segment", history_segment),
    ("kernel_log", kernel_log),
    ("recording", recording),
    ("wire_record", wire_record),
];
