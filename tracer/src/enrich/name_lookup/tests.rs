use std::fs;

use super::*;
use crate::host::{disposable, files::write_below};

const PATIENCE: Duration = Duration::from_secs(20);

fn named(name: &str) -> Container {
    Container { name: Some(name.to_owned()), ..Container::default() }
}

/// A look-up on a host below `root`, whose cgroups are below `cgroup`.
fn lookup(root: &Path) -> Lookup {
    Lookup::new(root.to_owned(), Some(root.join("cgroup")))
}

fn make(root: &Path, cgroup: &str) {
    fs::create_dir_all(root.join("cgroup").join(&cgroup[1..])).unwrap();
}

fn user(uid: u32) -> LookupRequest {
    LookupRequest::User { seq: 1, uid, task: TaskCgroup::default() }
}

fn request(path: impl Into<String>) -> LookupRequest {
    LookupRequest::Container { seq: 1, path: path.into() }
}

#[test]
fn new_container_with_late_files_keeps_its_name_after_they_are_removed() {
    let root = tempfile::tempdir().unwrap();
    let id = "ab".repeat(32);
    let path = format!("/system.slice/docker-{id}.scope");
    make(root.path(), &path);
    let mut lookup = lookup(root.path());
    lookup.ask(LookupRequest::NewCgroup(path.clone()));
    lookup.ask(user(0));
    assert_eq!(lookup.results(PATIENCE).users.get(&0), Some(&None));
    let directory = root.path().join("var/lib/docker/containers").join(&id);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config.v2.json"), r#"{"Name":"/hog"}"#).unwrap();
    let begin = Instant::now();
    while lookup.results(PATIENCE).container(&id).is_none() && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::remove_dir_all(&directory).unwrap();
    lookup.ask(request(path));
    let hog = Container { runtime: Some("docker".to_owned()), ..named("hog") };
    assert_eq!(lookup.results(PATIENCE).container(&id), Some(&hog));
}

#[test]
fn scan_running_container_is_named() {
    let root = tempfile::tempdir().unwrap();
    let id = "cd".repeat(32);
    make(root.path(), &format!("/kubepods/burstable/podx/{id}"));
    let logs = root.path().join("var/log/containers");
    fs::create_dir_all(&logs).unwrap();
    fs::write(logs.join(format!("web_shop_app-{id}.log")), "").unwrap();
    let mut lookup = lookup(root.path());
    lookup.ask(LookupRequest::Scan(root.path().join("cgroup")));
    lookup.ask(user(0));
    let results = lookup.results(PATIENCE);
    let pod = results.container(&id).and_then(|names| names.pod.as_deref());
    assert_eq!(pod, Some("web"));
}

#[test]
fn file_of_a_user_changes_no_names_of_others() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| write_below(root.path(), path, content);
    let (id, uid) = ("ab".repeat(32), "019c1fe8-0d92-4aa0-b61c-4df58bdde71c");
    let forged = format!(
        r#"{{"annotations":{{"io.kubernetes.container.name":"mine",
        "io.kubernetes.pod.name":"payments-0","io.kubernetes.pod.uid":"{uid}"}}}}"#
    );
    let me = rustix::process::geteuid().as_raw();
    write("etc/passwd", &format!("me:x:{me}:{me}::/home/me:/bin/sh\n"));
    let storage = format!("run/user/{me}/containers/overlay-containers");
    write(&format!("{storage}/{id}/userdata/config.json"), &forged);
    let session = format!("/user.slice/user-{me}.slice/user@{me}.service");
    let mut lookup = lookup(root.path());
    for path in [
        format!("{session}/libpod-{id}.scope"),
        format!("{session}/kubepods/pod{uid}/{id}"),
        format!("/kubepods/burstable/pod{uid}"),
        format!("/docker/{id}"),
    ] {
        make(root.path(), &path);
        lookup.ask(request(path));
    }
    let results = lookup.results(PATIENCE);
    assert_eq!(results.container(uid), None);
    assert_eq!(results.container(&id), None);
    assert_eq!(results.container(&format!("user-{me}/{id}")), Some(&named("mine")));
}

#[test]
fn new_cgroup_with_a_known_id_is_looked_up_again() {
    let root = tempfile::tempdir().unwrap();
    let id = "ab".repeat(32);
    let directory = root.path().join("var/lib/docker/containers").join(&id);
    fs::create_dir_all(&directory).unwrap();
    make(root.path(), &format!("/docker/{id}"));
    let mut lookup = lookup(root.path());
    for name in ["first", "second"] {
        let described = format!(r#"{{"Name":"/{name}"}}"#);
        fs::write(directory.join("config.v2.json"), described).unwrap();
        lookup.ask(LookupRequest::NewCgroup(format!("/docker/{id}")));
        lookup.ask(user(0));
        let results = lookup.results(PATIENCE);
        let known = results.container(&id).and_then(|names| names.name.as_deref());
        assert_eq!(known, Some(name));
    }
}

#[test]
fn cgroup_below_a_known_container_is_not_looked_up_again() {
    let root = tempfile::tempdir().unwrap();
    let id = "ab".repeat(32);
    let directory = root.path().join("var/lib/docker/containers").join(&id);
    fs::create_dir_all(&directory).unwrap();
    make(root.path(), &format!("/docker/{id}"));
    let mut lookup = lookup(root.path());
    for (name, below) in [("first", ""), ("second", "/below"), ("third", "/docker-x.scope")] {
        let described = format!(r#"{{"Name":"/{name}"}}"#);
        fs::write(directory.join("config.v2.json"), described).unwrap();
        lookup.ask(LookupRequest::NewCgroup(format!("/docker/{id}{below}")));
        lookup.ask(user(0));
        let results = lookup.results(PATIENCE);
        let known = results.container(&id).and_then(|names| names.name.as_deref());
        assert_eq!(known, Some("first"));
    }
}

#[test]
fn new_cgroup_of_a_container_or_of_a_pod_is_the_last_one() {
    let uid = "019c1fe8-0d92-4aa0-b61c-4df58bdde71c";
    let (id, scope_uid) = ("ab".repeat(32), uid.replace('-', "_"));
    for (path, expected) in [
        (format!("/docker/{id}"), true),
        (format!("/system.slice/docker-{id}.scope"), true),
        (format!("/docker/{id}/below"), false),
        (format!("/docker/{id}/docker-{id}.scope"), false),
        (format!("/kubepods/pod{uid}"), true),
        (format!("/kubepods.slice/kubepods-pod{scope_uid}.slice"), true),
        (format!("/kubepods/pod{uid}/below"), false),
    ] {
        let container = container::cgroup_owner(&path).container.unwrap();
        assert_eq!(is_last(&path, &container), expected, "{path}");
    }
}

#[test]
fn too_many_containers_drop_the_oldest() {
    let mut results = LookupResults::default();
    for number in 0..MAX_CONTAINERS + 2 {
        results.containers.insert(number.to_string(), named("x"));
    }
    assert_eq!(results.containers.len(), MAX_CONTAINERS);
    assert!(results.container("1").is_none() && results.container("2").is_some());
}

#[test]
fn files_of_a_process_that_come_after_its_report_are_dropped() {
    let mut results = LookupResults::default();
    let files = || ProcessFiles { cmdline: Some(vec!["x".to_owned()]), exe: None };
    results.processes.insert((7, 1), None);
    results.processes.insert((8, 1), None);
    results.forget(7);
    results.insert_process((7, 1), files());
    results.insert_process((8, 1), files());
    assert_eq!((results.process((7, 1)), results.process((8, 1))), (None, Some(&files())));
    assert_eq!(results.processes.len(), 1);
}

/// The tenant's share is used up as by look-ups that hang.
#[test]
fn tenant_without_a_share_is_refused_and_others_are_named() {
    let root = tempfile::tempdir().unwrap();
    let mut lookup = lookup(root.path());
    let [hostile, other] = ["ab", "cd"].map(|id| id.repeat(32));
    for id in [&hostile, &other] {
        let directory = root.path().join("var/lib/docker/containers").join(id);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.v2.json"), r#"{"Name":"/app"}"#).unwrap();
        make(root.path(), &format!("/docker/{id}"));
    }
    let path = format!("/docker/{hostile}/below");
    let charged = disposable::deadline() * 3;
    lookup.shares.charge(&container::tenant(&path), Instant::now(), charged);
    lookup.tenants.learn(5, &path);
    let task = TaskCgroup { pid: u32::MAX, cgroup_id: Some(5) };
    lookup.ask(LookupRequest::Container { seq: 1, path });
    lookup.ask(LookupRequest::User { seq: 1, uid: 0, task });
    lookup.ask(LookupRequest::Process { seq: 1, pid: 7, started_ns: 0, task });
    lookup.ask(LookupRequest::Container { seq: 2, path: format!("/docker/{other}") });
    let mut results = lookup.results(PATIENCE);
    let all = [LookupKind::Container, LookupKind::User, LookupKind::Process];
    assert_eq!((results.refused(1), results.refused(2)), (&all[..], &[][..]));
    assert!(results.container(&hostile).is_none() && results.container(&other).is_some());
    assert!(!results.users.contains_key(&0));
    // Whose cgroup it is costs nothing, and is known.
    assert_eq!(results.maker(&format!("/docker/{hostile}")), Maker::Root);
    results.forget(1);
    assert_eq!(results.refused(1), []);
}

#[test]
fn known_names_are_no_look_up_and_are_not_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut lookup = lookup(root.path());
    let id = "ab".repeat(32);
    let path = format!("/docker/{id}");
    make(root.path(), &path);
    lookup.results.lock().containers.insert(id.clone(), named("app"));
    let charged = disposable::deadline() * 3;
    lookup.shares.charge(&container::tenant(&path), Instant::now(), charged);
    lookup.ask(request(path));
    let results = lookup.results(PATIENCE);
    assert_eq!(
        (results.refused(1), results.maker(&format!("/docker/{id}"))),
        (&[][..], Maker::Root)
    );
}

#[test]
fn maker_that_was_found_stays_known_when_the_cgroup_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let mut lookup = lookup(root.path());
    let path = format!("/kubepods/podx/{}", "ab".repeat(32));
    let mut found = || {
        lookup.ask(request(path.clone()));
        lookup.results(PATIENCE).maker(&path)
    };
    assert_eq!(found(), Maker::Unknown);
    make(root.path(), &path);
    assert_eq!(found(), Maker::Root);
    fs::remove_dir_all(root.path().join("cgroup")).unwrap();
    assert_eq!(found(), Maker::Root);
}
