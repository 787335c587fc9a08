mod elf;

use std::{
    fs::File,
    io::ErrorKind,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use super::{helper::is_fixed, *};
use crate::{
    host::{clock, opener::attacks},
    model::names::{FileOffset, MAX_SYMBOL_BYTES, Name},
    symbolize::demangle::tests::doubling,
};

/// The test's executable, as if a process had mapped it as /bin/app.
fn myself() -> (ElfFiles, String) {
    let mut files = ElfFiles::default();
    let build_id =
        files.add("/proc/self/exe".as_ref(), "/bin/app").expect("rustc writes build ids");
    (files, build_id)
}

#[inline(never)]
extern "C" fn somewhere() -> u64 {
    std::hint::black_box(7)
}

/// The offset in its file of a function of this process.
fn offset_of(function: usize) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let line = maps.lines().find(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        (number(start)..number(end)).contains(&function)
    });
    let mut words = line.unwrap().split(' ');
    let start = number(words.next().unwrap().split('-').next().unwrap());
    (function - start + number(words.nth(1).unwrap())) as u64
}

#[test]
fn offset_in_a_known_file_gets_function_and_file() {
    let (files, build_id) = myself();
    let start = offset_of(somewhere as extern "C" fn() -> u64 as usize);
    let named = helper::name_offsets(&files, &[FileOffset { build_id, file_offset: start + 3 }]);
    let [Some(name)] = named.as_slice() else { panic!("{named:?}") };
    assert!(name.symbol.as_deref().is_some_and(|it| it.ends_with("somewhere")), "{name:?}");
    assert_eq!((name.offset, name.file.as_deref()), (Some(3), Some("/bin/app")));
    assert_eq!(somewhere(), 7);
}

#[test]
fn offset_without_symbol_gets_file_and_unknown_file_gets_none() {
    let (files, build_id) = myself();
    let beyond = FileOffset { build_id, file_offset: u64::MAX / 2 };
    let unknown = FileOffset { build_id: "00".repeat(20), file_offset: 1 };
    let hostile = FileOffset { build_id: "../../etc/passwd".into(), file_offset: 1 };
    let named = helper::name_offsets(&files, &[beyond, unknown, hostile]);
    let file_only = Name { file: Some("/bin/app".into()), ..Name::default() };
    assert_eq!(named, [Some(file_only), None, None]);
}

#[test]
fn stripped_file_gets_symbols_from_the_debug_directory() {
    let folder = tempfile::tempdir().unwrap();
    let (_, build_id) = myself();
    let (start, rest) = build_id.split_at(2);
    let directory = folder.path().join(".build-id").join(start);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::copy("/proc/self/exe", directory.join(format!("{rest}.debug"))).unwrap();
    let mut files = ElfFiles::default();
    files.add_debug_directory(folder.path());
    let start = offset_of(somewhere as extern "C" fn() -> u64 as usize);
    let named = helper::name_offsets(&files, &[FileOffset { build_id, file_offset: start }]);
    let [Some(name)] = named.as_slice() else { panic!("{named:?}") };
    assert!(name.symbol.as_deref().is_some_and(|it| it.ends_with("somewhere")), "{name:?}");
    assert_eq!(name.file, None);
}

#[test]
fn request_with_hostile_content_is_answered() {
    let request = Request {
        offsets: vec![FileOffset { build_id: String::new(), file_offset: 0 }],
        addresses: vec![
            Address { ip: 1, in_file: None, executable: Some(0) },
            Address { ip: 2, in_file: Some((9, 9)), executable: None },
        ],
        files: vec![Candidate { descriptor: Some(0), shown: "x".into() }],
        perf_maps: vec![7],
    };
    let maps = File::open("/proc/self/maps").unwrap();
    let Response { offsets, addresses, build_ids } = helper::look_up(&request, vec![maps.into()]);
    assert_eq!((offsets, addresses, build_ids), (vec![None], vec![None, None], vec![None]));
}

/// The answer of a helper about addresses of a process.
fn look_up(mapped: &Mapped, ips: &[u64]) -> Response {
    let failed = FailedFiles::default();
    let mut asked = RequestWithFiles::for_addresses(mapped, &[], ips, &failed);
    asked.add_files(&mapped.files.iter().collect::<Vec<_>>());
    helper::look_up(&asked.request, owned(&asked.descriptors()))
}

fn owned(descriptors: &[BorrowedFd<'_>]) -> Vec<OwnedFd> {
    descriptors.iter().map(|it| it.try_clone_to_owned().unwrap()).collect()
}

/// If the kernel finds no build id (a page is not in memory, a lock is held), it gives an address.
#[test]
fn address_in_a_mapped_file_gets_function_and_file() {
    let mapped = Mapped::open(std::process::id()).unwrap();
    let ip = somewhere as extern "C" fn() -> u64 as usize as u64;
    let answer = look_up(&mapped, &[ip + 1, 1]);
    let [Some(name)] = answer.addresses.as_slice() else { panic!("{answer:?}") };
    assert!(name.symbol.as_deref().is_some_and(|it| it.ends_with("somewhere")), "{name:?}");
    assert_eq!(name.offset, Some(1));
    assert!(name.file.as_deref().is_some_and(|it| it.starts_with('/')));
}

#[test]
fn open_keeps_a_process_only_if_its_start_matches() {
    let mut symbols = UserSymbols::default();
    let pid = std::process::id();
    symbols.open(Process { pid, started_ns: 0 });
    assert_eq!(symbols.processes.len(), 0);
    let started_ns = process::started_ns_of(pid).unwrap();
    symbols.open(Process { pid, started_ns });
    symbols.open(Process { pid, started_ns });
    assert_eq!(symbols.processes.len(), 1);
}

#[test]
fn executable_of_an_exited_process_is_found_by_path() {
    let exe = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let neighbor = Some(std::process::id());
    let gone = Process { pid: u32::MAX, started_ns: 1 };
    let hint = ProcessHint { exe: exe.clone(), neighbor, ..ProcessHint::default() };
    let mapped = Mapped::after_exit(gone, &hint);
    assert_eq!(mapped.files.iter().take(2).map(|(path, _)| path).collect::<Vec<_>>(), [&exe, &exe]);
    let device = ProcessHint { exe: "/dev/null".into(), ..ProcessHint::default() };
    assert!(Mapped::after_exit(gone, &device).files.is_empty());
}

/// The paths of a container lead to its files only below its own root.
#[test]
fn executable_of_a_process_is_found_below_its_own_root() {
    let exe = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let process = Process::now(std::process::id());
    let root = ProcessRoot::of(process);
    let found = |root| {
        Mapped::after_exit(
            process,
            &ProcessHint { exe: exe.clone(), root, ..ProcessHint::default() },
        )
    };
    assert_eq!((found(root).files.len(), found(None).files.len()), (2, 1));
}

/// A fixed executable gives names to addresses of which nothing else is known. Others do not.
#[test]
fn address_in_a_fixed_executable_gets_its_function() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app");
    let mut bytes = std::fs::read("/proc/self/exe").unwrap();
    let is_found = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        is_fixed(&File::open(&path).unwrap())
    };
    // ET_EXEC, ET_DYN.
    assert_eq!((is_found(&[0; 18]), is_found(&bytes[..4])), (false, false));
    bytes[16] = 2;
    assert!(is_found(&bytes));
    bytes[16] = 3;
    assert!(!is_found(&bytes));
    let movable = File::open(&path).unwrap();
    let fixed_path = directory.path().join("fixed");
    bytes[16] = 2;
    std::fs::write(&fixed_path, bytes).unwrap();

    let exe = std::env::current_exe().unwrap();
    // nm comes with the linker. A mangled name has its length before it.
    let symbols = std::process::Command::new("nm").arg(exe).output().unwrap();
    let symbols = String::from_utf8(symbols.stdout).unwrap();
    let line = symbols.lines().find(|line| line.contains("9somewhere") && line.contains(" t "));
    let start = u64::from_str_radix(line.unwrap().split(' ').next().unwrap(), 16).unwrap();
    let request = Request {
        addresses: vec![Address { ip: start + 2, in_file: None, executable: Some(0) }],
        files: vec![Candidate { descriptor: Some(0), shown: "/bin/app".into() }],
        ..Request::default()
    };
    let answer = helper::look_up(&request, vec![movable.into()]);
    assert_eq!(answer.addresses, [None]);
    let fixed = File::open(&fixed_path).unwrap();
    let answer = helper::look_up(&request, vec![fixed.into()]);
    let [Some(name)] = answer.addresses.as_slice() else { panic!("{answer:?}") };
    assert!(name.symbol.as_deref().is_some_and(|it| it.ends_with("somewhere")), "{name:?}");
    assert_eq!((name.offset, name.file.as_deref()), (Some(2), Some("/bin/app")));
}

#[test]
fn perf_map_after_exit_counts_only_if_its_process_wrote_it() {
    // No process has this id: `pid_max` is 4 Mi at most.
    let pid = 5_000_000 + std::process::id();
    let path = format!("/tmp/perf-{pid}.map");
    std::fs::write(&path, "10 10 made\n").unwrap();
    let uid = rustix::process::getuid().as_raw();
    let now = clock::boottime_ns();
    let is_found = |started_ns, uid| {
        let hint = ProcessHint {
            perf_map_writer: Some(PerfMapWriter { uid, pid }),
            ..ProcessHint::default()
        };
        let mapped = Mapped::after_exit(Process { pid, started_ns }, &hint);
        let name = look_up(&mapped, &[0x18]).addresses.pop().flatten();
        name.and_then(|name| name.symbol).is_some_and(|symbol| symbol == "made")
    };
    let second = 1_000_000_000;
    let found = [is_found(now - 60 * second, uid), is_found(now - 60 * second, uid + 1)];
    let too_old = [is_found(now + 60 * second, uid), is_found(0, uid)];
    std::fs::remove_file(&path).unwrap();
    assert_eq!((found, too_old), ([true, false], [false, false]));
}

fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

#[test]
fn executable_that_is_not_a_regular_file_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app");
    let root = ProcessRoot::at(directory.path());
    let hint = ProcessHint { exe: "/app".to_owned(), root, ..ProcessHint::default() };
    let gone = Process { pid: u32::MAX, started_ns: 1 };
    let has_none = || Mapped::after_exit(gone, &hint).files.is_empty();
    attacks::run_each("executable", &path, has_none);
    std::fs::write(&path, "app").unwrap();
    assert!(!has_none());
}

/// Any user can make the perf map of another user's process first.
#[test]
fn perf_map_of_a_living_process_counts_only_if_its_user_wrote_it() {
    let directory = tempfile::tempdir().unwrap();
    let pid = std::process::id();
    std::fs::create_dir(directory.path().join("tmp")).unwrap();
    let path = directory.path().join(format!("tmp/perf-{pid}.map"));
    attacks::run_each("perf map", &path, || {
        let root = ProcessRoot::at(directory.path());
        let perf_map_writer = Some(PerfMapWriter { uid: own_uid(), pid });
        let hint = ProcessHint { root, perf_map_writer, ..ProcessHint::default() };
        mapped::perf_map(Process { pid, started_ns: 1 }, &hint).is_none()
    });
    std::fs::write(&path, "10 10 made\n").unwrap();
    let uid = rustix::process::getuid().as_raw();
    let now = clock::boottime_ns();
    let is_found = |uid| {
        let root = ProcessRoot::at(directory.path());
        let perf_map_writer = Some(PerfMapWriter { uid, pid });
        let hint = ProcessHint { root, perf_map_writer, ..ProcessHint::default() };
        mapped::perf_map(Process { pid, started_ns: now - 60_000_000_000 }, &hint).is_some()
    };
    assert_eq!((is_found(uid), is_found(uid + 1)), (true, false));
    std::fs::hard_link(&path, directory.path().join("second name")).unwrap();
    assert!(!is_found(uid));
}

/// A file that a helper has read before is suspected only if it was asked about again.
#[test]
fn suspects_are_new_files_and_those_that_were_asked_about() {
    let mapped = Mapped::open(std::process::id()).unwrap();
    let files: Vec<&OpenedFile> = mapped.files.iter().map(|(_, file)| file).collect();
    let mut build_ids = UserSymbols::default().build_ids;
    build_ids.insert(files[0].facts.id, Some("aa".to_owned()));
    build_ids.insert(files[1].facts.id, Some("bb".to_owned()));
    let offsets = vec![FileOffset { build_id: "bb".to_owned(), file_offset: 1 }];
    let request = Request { offsets, ..Request::default() };
    let found = suspects(files.iter().copied(), &build_ids, &request);
    let expected: Vec<FileId> = files.iter().skip(1).map(|file| file.facts.id).collect();
    assert_eq!(found, expected);
}

/// A request about these files was too much for a helper.
#[test]
fn failed_file_is_not_sent_again() {
    let mapped = Mapped::open(std::process::id()).unwrap();
    let mut failed = FailedFiles::default();
    let first = &mapped.files[0].1;
    failed.extend([first.facts.id]);
    let mut asked = RequestWithFiles::for_addresses(&mapped, &[], &[], &failed);
    asked.add_files(&mapped.files.iter().collect::<Vec<_>>());
    let sent = |index: usize| asked.request.files[index].descriptor;
    assert_eq!((sent(0), sent(1)), (None, Some(0)));
    assert_eq!(asked.descriptors().len(), mapped.files.len() - 1);
}

/// A process that has exited, which had mapped this file.
fn exited(symbols: &mut UserSymbols, pid: u32, path: &Path) -> Process {
    let process = Process { pid: u32::MAX - pid, started_ns: 1 };
    let mut mapped = Mapped::default();
    let root = ProcessRoot::of_host().unwrap();
    mapped.files = root.open_mapped(Some(0), [path.to_str().unwrap()]);
    symbols.processes.insert(process.key(), mapped);
    process
}

/// Symbols of files, without the helper process.
fn symbols() -> UserSymbols {
    UserSymbols {
        ask: |request, files| Ok(helper::look_up(request, owned(files))),
        ..UserSymbols::default()
    }
}

/// A process that has exited, which had mapped a file with the function malloc.
struct WithMalloc {
    directory: tempfile::TempDir,
    symbols: UserSymbols,
    process: Process,
}

impl WithMalloc {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("libc.so");
        std::fs::write(&path, elf::with_symbol("malloc")).unwrap();
        let mut symbols = symbols();
        let process = exited(&mut symbols, 1, &path);
        Self { directory, symbols, process }
    }
}

/// The only function of the file.
fn in_function() -> [FileOffset; 1] {
    [FileOffset { build_id: elf::BUILD_ID.to_owned(), file_offset: elf::CODE + 1 }]
}

fn symbol_of(names: &UserNames) -> Option<&str> {
    let (_, name) = names.offsets.first()?;
    name.symbol.as_deref()
}

/// The author of a file chooses its build id, too.
#[test]
fn two_files_with_one_build_id_each_name_the_frames_of_their_own_process() {
    let directory = tempfile::tempdir().unwrap();
    let [honest, forged] = ["malloc", "leak_of_team_b"].map(|symbol| {
        let path = directory.path().join(symbol);
        std::fs::write(&path, elf::with_symbol(symbol)).unwrap();
        path
    });
    let mut symbols = symbols();
    let offset = in_function();
    for _ in 0..2 {
        for (pid, path, expected) in [(1, &forged, "leak_of_team_b"), (2, &honest, "malloc")] {
            let process = exited(&mut symbols, pid, path);
            let names = symbols.resolve(process, None, &offset, &[]);
            assert_eq!(symbol_of(&names), Some(expected));
        }
    }
    // Of this one no file could be opened, and nobody knows where its root was.
    let unknown = Process { pid: u32::MAX - 3, started_ns: 1 };
    assert_eq!(symbols.resolve(unknown, None, &offset, &[]), UserNames::default());
}

#[test]
fn file_that_another_process_has_mapped_counts_only_on_the_same_device_and_of_the_same_user() {
    let WithMalloc { directory, mut symbols, process } = WithMalloc::new();
    let path = directory.path().join("libc.so");
    let offset = in_function();
    symbols.resolve(process, None, &offset, &[]);
    let other = Process { pid: u32::MAX - 2, started_ns: 1 };
    let names = |symbols: &mut UserSymbols, below: &Path, uid: u32| {
        let perf_map_writer = Some(PerfMapWriter { uid, pid: 1 });
        let root = ProcessRoot::at(below);
        let hint = ProcessHint { root, perf_map_writer, ..ProcessHint::default() };
        symbols.resolve(other, Some(&hint), &offset, &[])
    };
    let (here, own) = (directory.path(), own_uid());
    assert_eq!(symbol_of(&names(&mut symbols, here, own)), Some("malloc"));
    assert_eq!(symbol_of(&names(&mut symbols, "/proc".as_ref(), own)), None);
    if attacks::give_away(&path) {
        let process = exited(&mut symbols, 3, &path);
        symbols.open = KeptOpen::new(MAX_OPEN);
        symbols.resolve(process, None, &offset, &[]);
        assert_eq!(symbol_of(&names(&mut symbols, here, own)), None);
        assert!(symbol_of(&names(&mut symbols, here, attacks::other_user())).is_some());
    }
}

#[test]
fn known_name_is_not_asked_for_again() {
    let WithMalloc { directory: _directory, mut symbols, process } = WithMalloc::new();
    let [known] = in_function();
    let unknown = FileOffset { build_id: "77".to_owned(), ..known.clone() };
    symbols.resolve(process, None, std::slice::from_ref(&known), &[]);
    symbols.ask = |_, _| panic!("it was asked for again");
    let names = symbols.resolve(process, None, &[known, unknown], &[]);
    assert_eq!(symbol_of(&names), Some("malloc"));
}

#[test]
fn symbol_of_megabytes_is_cut_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bomb");
    for symbol in [doubling(22), "x".repeat(64 << 20)] {
        std::fs::write(&path, elf::with_symbol(&symbol)).unwrap();
        let begin = Instant::now();
        let request = Request {
            offsets: in_function().into(),
            files: vec![Candidate { descriptor: Some(0), shown: "x".into() }],
            ..Request::default()
        };
        let Response { offsets, .. } =
            helper::look_up(&request, vec![File::open(&path).unwrap().into()]);
        let [Some(Name { symbol: Some(name), .. })] = &offsets[..] else { panic!("no name") };
        assert_eq!(name.len(), MAX_SYMBOL_BYTES);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
}

#[test]
fn files_are_closed_some_time_after_their_last_use() {
    let mut symbols = UserSymbols::default();
    assert_eq!(symbols.next_close(), None);
    let own = Process::now(std::process::id());
    symbols.open(own);
    symbols.keep_files(files_of(own.pid));
    symbols.keep_perf_maps(PerfMapSources::of(own.pid).map(Arc::new).into_iter().collect());
    assert!(symbols.open.len() > 0 && symbols.perf_maps.len() == 1);
    let due = symbols.next_close().unwrap();
    assert!(due <= Instant::now() + Duration::from_mins(1));
    symbols.close_unused(due + Duration::from_secs(5));
    assert_eq!(symbols.next_close(), None);
    assert_eq!(symbols.open.len() + symbols.perf_maps.len() + symbols.processes.len(), 0);
}

/// The helper could not say anything about it.
#[test]
fn file_that_was_not_sent_is_asked_about_again() {
    let WithMalloc { directory: _directory, mut symbols, process } = WithMalloc::new();
    let offset = in_function();
    let helper = std::mem::replace(&mut symbols.ask, |_, _| Err(ErrorKind::TimedOut.into()));
    assert_eq!(symbols.resolve(process, None, &offset, &[]), UserNames::default());
    symbols.ask = helper;
    assert_eq!(symbols.resolve(process, None, &offset, &[]), UserNames::default());
    symbols.failed = FailedFiles::default();
    assert_eq!(symbol_of(&symbols.resolve(process, None, &offset, &[])), Some("malloc"));
}
