//! Identity of trigger and victims.

use super::{
    Findings, compose, kill,
    parts::{host, victim},
};
use crate::model::{
    account::{InvocationAccount, Stage},
    events::{CgroupPath, Name, Parent, UserFrame},
    facts::ProcessFiles,
    names::{FileOffset, UserNames},
    report::{Container, Frame, OomReport},
    task_context::TaskContext,
};

fn names(names: &[&[u8]]) -> Vec<Name> {
    names.iter().map(|name| Name(name.to_vec())).collect()
}

fn java() -> TaskContext {
    TaskContext {
        cmdline: Some((names(&[b"java", b"-jar"]), false)),
        exe: Some((names(&[b"usr", b"bin", b"java"]), true)),
        parents: Some(vec![Parent { tgid: 7, comm: Name(b"sh".to_vec()) }]),
        user_stack: Some(vec![UserFrame::File { build_id: "00".to_owned(), file_offset: 16 }]),
        unread: Vec::new(),
    }
}

/// With the hook that reads the context of victims.
fn report(account: &InvocationAccount, findings: &Findings) -> OomReport {
    let mut host = host();
    host.hooks.insert("do_group_exit".to_owned(), "fentry".to_owned());
    compose(account, &host, findings)
}

#[test]
fn trigger_that_is_victim_has_same_identity() {
    let mut account = kill();
    account.contexts.insert(100, java());
    let mut findings = Findings::default();
    findings.users.insert(1000, "app".to_owned());
    let report = report(&account, &findings);
    let (victim, trigger) = (&report.victims[0], report.trigger.as_ref().unwrap());
    assert_eq!(victim.who, trigger.who);
    assert_eq!(victim.who.cmdline.as_deref().unwrap(), ["java", "-jar"]);
    assert_eq!(
        (victim.who.exe.as_deref(), victim.who.exe_truncated),
        (Some("/usr/bin/java"), true)
    );
    assert_eq!(victim.who.user.as_deref(), Some("app"));
    assert_eq!(victim.who.parents.as_ref().unwrap()[0].comm, "sh");
    assert_eq!(victim.user_stack.as_ref().unwrap()[0].file_offset, Some(16));
    assert_eq!(report.source.missing, []);
}

#[test]
fn arguments_that_are_not_utf8_have_hex() {
    let mut account = kill();
    let cmdline = Some((names(&[b"a", b"\xff"]), true));
    account.contexts.insert(100, TaskContext { cmdline, ..TaskContext::default() });
    let who = report(&account, &Findings::default()).victims.swap_remove(0).who;
    assert_eq!(who.cmdline.unwrap(), ["a", "\u{fffd}"]);
    assert_eq!(who.cmdline_hex.unwrap(), ["61", "ff"]);
    assert!(who.cmdline_truncated);
}

#[test]
fn identity_that_was_not_read_comes_from_proc() {
    let account = kill();
    let files = ProcessFiles { cmdline: Some(vec!["java".to_owned()]), exe: None };
    let mut findings = Findings::default();
    findings.processes.insert((account.seq, 100), files);
    let who = report(&account, &findings).victims.swap_remove(0).who;
    assert_eq!((who.cmdline.unwrap().len(), who.exe), (1, None));
}

#[test]
fn identity_that_was_not_read_is_missing_when_closed() {
    let mut account = kill();
    account.victims.push((9_001, victim(200)));
    account.contexts.insert(100, java());
    account.contexts.insert(200, TaskContext { unread: vec!["cmdline"], ..TaskContext::default() });
    let missing = |account: &InvocationAccount| {
        let missing = report(account, &Findings::default()).source.missing;
        missing.into_iter().map(|it| format!("{}: {}", it.field, it.why)).collect::<Vec<_>>()
    };
    let reasons = missing(&account);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[0].starts_with("victims.cmdline: of 200: it was not in memory"), "{reasons:?}");
    assert!(reasons[1].starts_with("victims.exe: of 200: it had not received"), "{reasons:?}");
    // It exited, so the probe must have been skipped.
    account.reap_and_exit.entry(200).or_default().exited_ns = Some(9_500);
    assert!(missing(&account)[1].starts_with("victims.exe: of 200: the kernel skips a probe"));
    account.stage = Stage::Provisional;
    assert_eq!(missing(&account), [""; 0]);
}

#[test]
fn container_has_names_that_were_found() {
    let mut account = kill();
    let id = "ab".repeat(32);
    account.victims.change(0, |(_, it)| it.task.cgroup_id = Some(5));
    let path = CgroupPath {
        id: 5,
        names: names(&[b"system.slice", format!("docker-{id}.scope").as_bytes()]),
        truncated: false,
    };
    account.paths.insert(5, path);
    let named = Container { name: Some("hog".to_owned()), ..Container::default() };
    let mut findings = Findings::default();
    findings.containers.insert(id.clone(), named);
    let owner = report(&account, &findings).victims.swap_remove(0).owner;
    let container = owner.container.unwrap();
    assert_eq!((container.name.as_deref(), container.id), (Some("hog"), Some(id)));
    assert_eq!(container.runtime.as_deref(), Some("docker"));
    assert_eq!(owner.slice.as_deref(), Some("system.slice"));
}

/// The names are those of a container with the same id elsewhere.
#[test]
fn container_that_a_user_could_make_is_claimed_and_has_only_names_of_its_user() {
    let id = "ab".repeat(32);
    let directory = format!("/system.slice/their.service/docker-{id}.scope");
    let mut account = kill();
    account.victims.change(0, |(_, it)| it.task.cgroup_id = Some(5));
    let path = format!("{directory}/below");
    let names = path[1..].split('/').map(|name| Name(name.as_bytes().to_vec())).collect();
    account.paths.insert(5, CgroupPath { id: 5, names, truncated: false });
    let named = |name: &str| Container { name: Some(name.to_owned()), ..Container::default() };
    let mut findings = Findings::default();
    findings.containers.insert(id.clone(), named("payments"));
    findings.containers.insert(format!("user-1000/{id}"), named("mine"));
    for (maker, is_claimed, name) in [
        (None, false, Some("payments")),
        (Some(Some(0)), false, Some("payments")),
        (Some(Some(1000)), true, Some("mine")),
        (Some(Some(1001)), true, None),
        (Some(None), true, None),
    ] {
        if let Some(uid) = maker {
            findings.cgroup_makers.insert(directory.clone(), uid);
        }
        let victim = report(&account, &findings).victims.swap_remove(0);
        let container = victim.owner.container.unwrap();
        assert_eq!((container.claimed, container.name.as_deref()), (is_claimed, name), "{maker:?}");
        assert_eq!(container.id.as_ref(), Some(&id));
    }
}

#[test]
fn user_frames_have_names_of_their_process() {
    let mut account = kill();
    let at = |file_offset| FileOffset { build_id: "ab".to_owned(), file_offset };
    let frames = vec![
        UserFrame::File { build_id: "ab".to_owned(), file_offset: 16 },
        UserFrame::Ip { ip: 16 },
        UserFrame::Ip { ip: 17 },
    ];
    let other = victim(555);
    account.victims.push((9, other));
    for pid in [100, 555] {
        account.contexts.insert(pid, TaskContext { user_stack: Some(frames.clone()), ..java() });
    }
    if let Some(invocation) = &mut account.invocation {
        invocation.user_stack = Some(frames);
    }
    let named = |symbol: &str| crate::model::names::Name {
        symbol: Some(symbol.to_owned()),
        offset: Some(3),
        file: Some("/bin/app".to_owned()),
    };
    let names = |symbol: &str| UserNames {
        offsets: vec![(at(16), named(symbol)), (at(17), named("elsewhere"))],
        addresses: vec![(16, named(symbol))],
    };
    let mut findings = Findings::default();
    findings.user_names.insert((account.seq, 100), names("of_trigger"));
    findings.user_names.insert((account.seq, 555), names("of_victim"));
    findings.user_names.insert((account.seq + 1, 100), names("of_another_kill"));
    let late = |findings: &Findings| {
        let missing = report(&account, findings).source.missing;
        let fields = missing.into_iter().map(|it| it.field);
        fields.filter(|field| field.ends_with(".symbol")).collect::<Vec<_>>()
    };
    assert_eq!(late(&findings), [""; 0]);
    findings.names_asked.insert(account.seq, ());
    assert_eq!(late(&findings), [""; 0]);
    let user_names = Findings::default().user_names;
    let without = Findings { user_names, ..findings.clone() };
    assert_eq!(late(&without), ["trigger.user_stack.symbol", "victims.user_stack.symbol"]);
    let report = report(&account, &findings);
    let symbols = |stack: &Option<Vec<Frame>>| -> Vec<Option<String>> {
        stack.iter().flatten().map(|frame| frame.symbol.clone()).collect()
    };
    let twice = |symbol: &str| vec![Some(symbol.to_owned()), Some(symbol.to_owned()), None];
    assert_eq!(symbols(&report.trigger.as_ref().unwrap().user_stack), twice("of_trigger"));
    for victim in &report.victims {
        let name = if victim.pid == 555 { "of_victim" } else { "of_trigger" };
        assert_eq!(symbols(&victim.user_stack), twice(name));
        let first = &victim.user_stack.as_ref().unwrap()[0];
        assert_eq!((first.offset, first.file_offset), (Some(3), Some(16)));
        assert_eq!(first.file.as_deref(), Some("/bin/app"));
    }
}
