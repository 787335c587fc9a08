//! The helper processes: what they may do, and what they answer.
#![expect(clippy::unwrap_used, reason = "clippy excuses #[test] functions, not their helpers")]

use std::{
    fs::{self, File},
    io::{IoSlice, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::{fs::MetadataExt as _, net::UnixStream},
    },
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const SYSLOG: u64 = 1 << 34;

/// A helper process. It is killed when this is dropped.
struct Helper(Child);

impl Helper {
    fn start(command: &str, socket: impl Into<OwnedFd>) -> Self {
        let mut helper = Command::new(env!("CARGO_BIN_EXE_oomwhy"));
        helper.arg(command).stdin(socket.into()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        Self(helper.spawn().unwrap())
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0.id())).unwrap()
    }

    fn status(&self, key: &str) -> String {
        let status = self.file("status");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    }

    fn core_limits(&self) -> [String; 2] {
        let limits = self.file("limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let mut words = core.split_whitespace().skip(4).map(str::to_owned);
        [words.next().unwrap(), words.next().unwrap()]
    }

    fn capabilities(&self, set: &str) -> u64 {
        u64::from_str_radix(&self.status(set), 16).unwrap()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn send(socket: impl std::os::fd::AsFd, bytes: &[u8], files: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(files)));
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
}

/// What a helper answers to a request about files.
fn answer(command: &str, request: &str, files: &[BorrowedFd<'_>]) -> Value {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut helper = Helper::start(command, theirs);
    let (first, rest) = request.as_bytes().split_at(1);
    send(&ours, first, files);
    ours.write_all(rest).unwrap();
    drop(ours);
    let mut answer = String::new();
    helper.0.stdout.as_mut().unwrap().read_to_string(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

/// An attacker who controls a helper has no more privileges than it needs, and gains none.
#[test]
fn helper_keeps_only_the_privileges_that_it_needs() {
    for (command, wanted, oom_score_adj) in [
        ("user-symbols", 0, "1000"),
        ("kernel-symbols", SYSLOG, "1000"),
        ("open-files", SYS_PTRACE | DAC_READ_SEARCH, "0"),
    ] {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let helper = Helper::start(command, theirs);
        let begin = Instant::now();
        // It confines itself step by step.
        while helper.status("NoNewPrivs") != "1"
            || helper.capabilities("CapEff") & !wanted != 0
            || helper.core_limits() != ["0", "0"]
        {
            assert!(begin.elapsed() < PATIENCE, "{command}: {}", helper.file("status"));
            std::thread::sleep(Duration::from_millis(5));
        }
        for set in ["CapEff", "CapPrm", "CapInh"] {
            assert_eq!(helper.capabilities(set) & !wanted, 0, "{command}: {set}");
        }
        assert_eq!(helper.file("oom_score_adj").trim(), oom_score_adj, "{command}");
        // The kernel gives the files of a process that makes no core to root.
        let owner = fs::metadata(format!("/proc/{}/environ", helper.0.id())).unwrap().uid();
        assert_eq!(owner, 0, "{command}");
    }
}

/// It has no capabilities, so the descriptors are all that it can read.
#[test]
fn user_symbols_reads_the_files_that_it_was_sent() {
    let exe = File::open(env!("CARGO_BIN_EXE_oomwhy")).unwrap();
    let mut perf_map = tempfile::tempfile().unwrap();
    perf_map.write_all(b"1000 10 made\n").unwrap();
    let request = r#"{"offsets": [],
        "addresses": [{"ip": 4104, "in_file": null}],
        "files": [{"descriptor": 0, "shown": "/bin/app"}, {"descriptor": null, "shown": "x"}],
        "perf_maps": [1]}"#;
    let answer = answer("user-symbols", request, &[exe.as_fd(), perf_map.as_fd()]);
    assert!(answer["build_ids"][0].as_str().is_some_and(|id| id.len() == 40), "{answer}");
    assert_eq!(answer["build_ids"][1], Value::Null);
    assert_eq!(answer["addresses"][0]["symbol"], "made");
    assert_eq!(answer["addresses"][0]["offset"], 8);
}

#[inline(never)]
extern "C" fn somewhere() -> u64 {
    std::hint::black_box(7)
}

/// The offset of a function of this process in its file.
fn offset_of(function: usize) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let range = |line: &str| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        number(start)..number(end)
    };
    let line = maps.lines().find(|line| range(line).contains(&function)).unwrap();
    function - range(line).start + number(line.split(' ').nth(2).unwrap())
}

/// Compilers and linkers compress the sections for debuggers if asked to.
#[test]
fn user_symbols_names_a_function_of_a_file_with_compressed_sections() {
    let folder = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap();
    let request = format!(
        r#"{{"offsets": [], "addresses": [{{"ip": 1, "in_file": [0, {}]}}],
            "files": [{{"descriptor": 0, "shown": "/bin/app"}}], "perf_maps": []}}"#,
        offset_of(somewhere as extern "C" fn() -> u64 as usize)
    );
    assert_eq!(somewhere(), 7);
    for kind in ["none", "zlib", "zstd"] {
        let path = folder.path().join(kind);
        let mut compress = Command::new("objcopy");
        compress.arg(format!("--compress-debug-sections={kind}")).arg(&own).arg(&path);
        if !compress.status().is_ok_and(|status| status.success()) {
            eprintln!("not run: objcopy of binutils with {kind}");
            continue;
        }
        let answer = answer("user-symbols", &request, &[File::open(&path).unwrap().as_fd()]);
        let symbol = answer["addresses"][0]["symbol"].as_str().unwrap_or_default();
        assert!(symbol.contains("somewhere"), "{kind}: {answer}");
    }
}

/// The helper may read its descriptor, but not open the file by a path as blazesym does.
#[test]
fn user_symbols_reads_a_file_that_it_may_not_open() {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::copy("/bin/true", file.path()).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o700)).unwrap();
    if chown(file.path(), Some(65534), None).is_err() {
        eprintln!("not run: a file of another user, which needs root");
        return;
    }
    let opened = File::open(file.path()).unwrap();
    let request = r#"{"offsets": [], "addresses": [],
        "files": [{"descriptor": 0, "shown": "/bin/true"}], "perf_maps": []}"#;
    let answer = answer("user-symbols", request, &[opened.as_fd()]);
    assert!(answer["build_ids"][0].is_string(), "{answer}");
}

#[test]
fn kernel_symbols_answers_each_address() {
    let answer = answer("kernel-symbols", "[1, 2]", &[File::open("/dev/null").unwrap().as_fd()]);
    assert_eq!(answer.as_array().unwrap().len(), 2);
}

#[test]
fn open_files_answers_with_a_descriptor_and_ends_with_the_tracer() {
    let kind = SocketType::SEQPACKET;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    let mut helper = Helper::start("open-files", theirs);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "content").unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.path().join("device")).unwrap();
    let base = File::open(folder.path()).unwrap();
    let open = |path| {
        let tree = r#"{"Mapped":null}"#;
        format!(r#"{{"Open":{{"tree":{tree},"directory":null,"path":"{path}","max_bytes":9}}}}"#)
    };
    let request = format!("[{},{}]", open("/file"), open("/device"));
    send(&ours, request.as_bytes(), &[base.as_fd()]);
    let (first, second) = (receive(&ours), receive(&ours));
    assert!(first.0["Ok"]["id"]["inode"].is_u64(), "{}", first.0);
    assert_eq!(std::io::read_to_string(first.1.unwrap()).unwrap(), "content");
    assert!(second.0["Err"]["Unresolved"].is_i64() && second.1.is_none(), "{}", second.0);
    drop(ours);
    assert!(helper.0.wait().unwrap().success());
}

fn receive(socket: &OwnedFd) -> (Value, Option<File>) {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; 4096];
    let buffers = &mut [std::io::IoSliceMut::new(&mut buffer)];
    let received = recvmsg(socket, buffers, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next().map(File::from),
        _ => None,
    });
    (serde_json::from_slice(&buffer[..received.bytes]).unwrap(), file)
}
