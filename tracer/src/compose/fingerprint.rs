//! The fingerprint by which kills of the same kind are grouped. Pure.
//!
//! `<kill>-<stack>`: `<kill>` is a hash of the limit's owner, the executable and the cause;
//! `<stack>` is a hash of the top frames of the victim's user stack, if they are known. The frames
//! are hashed apart because they are not caught every time, and because the allocation that fails
//! can be any of the process' allocations.

use crate::model::{
    fnv,
    report::{Constraint, Frame, OomReport, Victim},
};

/// Frames that identify an allocation; deeper ones are its callers.
const FRAMES: usize = 3;
/// The least hex digits of a container's id.
const ID_DIGITS: usize = 32;

/// The fingerprint; `None` if no process was killed or the owner of the limit is not known.
pub fn fingerprint(report: &OomReport) -> Option<String> {
    let victim = report.victims.iter().find(|victim| victim.chosen).or(report.victims.first())?;
    let executable = victim.who.exe.as_deref().or(victim.comm.as_deref())?;
    let owner = match &report.oom_memcg {
        Some(memcg) => lasting_path(memcg.cgroup.path.as_deref()?),
        // The host, but only if it is known that no memory cgroup was at its limit.
        None if matches!(report.constraint, None | Some(Constraint::Memcg)) => return None,
        None => String::new(),
    };
    let cause = report
        .verdict
        .as_ref()
        .map_or_else(|| report.constraint.map_or("", constraint), |verdict| verdict.cause.as_str());
    let kill = hash([owner.as_str(), executable, cause]) >> 16;
    let stack = stack_hash(report, victim).map_or_else(String::new, |hash| format!("-{hash:08x}"));
    Some(format!("{kill:012x}{stack}"))
}

/// The part of a fingerprint without the stack.
pub(crate) fn kill(fingerprint: &str) -> &str {
    fingerprint.split_once('-').map_or(fingerprint, |(kill, _)| kill)
}

/// A hash that is the same in every version. The byte after each part is in no UTF-8 text.
pub(crate) fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    fnv::hash(parts.into_iter().flat_map(|part| part.bytes().chain([0xff])))
}

fn constraint(constraint: Constraint) -> &'static str {
    match constraint {
        Constraint::None => "none",
        Constraint::Cpuset => "cpuset",
        Constraint::MemoryPolicy => "memory_policy",
        Constraint::Memcg => "memcg",
    }
}

/// A cgroup's path without the parts that change with every start of a service: the id of a pod's
/// container (the pod's own id stays), the number of a transient scope.
fn lasting_path(path: &str) -> String {
    let mut in_pod = false;
    let names = path.split('/').map(|name| {
        let is_new = in_pod && has_id(name);
        in_pod |= name.starts_with("pod") || name.contains("-pod");
        match name.strip_suffix(".scope") {
            _ if is_new => "*".to_owned(),
            Some(scope) if scope.starts_with("run-") || scope.starts_with("session-") => {
                scope.trim_end_matches(|it: char| it.is_ascii_hexdigit()).to_owned() + "*.scope"
            }
            _ => name.to_owned(),
        }
    });
    names.collect::<Vec<_>>().join("/")
}

fn has_id(name: &str) -> bool {
    name.split(|it: char| !it.is_ascii_hexdigit()).any(|run| run.len() >= ID_DIGITS)
}

/// A hash of the victim's stack, or of the trigger's if that is the victim. Frames count only if
/// they are the same after a restart, which addresses are not.
fn stack_hash(report: &OomReport, victim: &Victim) -> Option<u32> {
    let trigger = report.trigger.as_ref().filter(|trigger| trigger.pid == victim.pid);
    let of_trigger = trigger.and_then(|trigger| trigger.user_stack.as_ref());
    let stack = victim.user_stack.as_ref().or(of_trigger)?;
    let frames: Vec<String> = stack.iter().take(FRAMES).filter_map(frame).collect();
    let upper_half = hash(frames.iter().map(String::as_str)) >> 32;
    (!frames.is_empty()).then_some(upper_half as u32)
}

fn frame(frame: &Frame) -> Option<String> {
    if let Some(symbol) = &frame.symbol {
        return Some(symbol.clone());
    }
    Some(format!("{}+{:x}", frame.build_id.as_deref()?, frame.file_offset?))
}

#[cfg(test)]
mod tests {
    use super::{fingerprint, kill, lasting_path};
    use crate::model::report::{
        Cgroup, Constraint, Frame, OomMemcg, OomReport, Outcome, Source, Tier, Trigger, Verdict,
        Victim,
    };

    const CONTAINER: &str = "4f9a0c5b1de24f9a0c5b1de24f9a0c5b1de24f9a0c5b1de24f9a0c5b1de2abcd";

    fn report(path: &str, comm: &str) -> OomReport {
        let mut report = OomReport::new("x".into(), Outcome::Killed, Source::new(Tier::Fentry));
        report.constraint = Some(Constraint::Memcg);
        let cgroup = Cgroup { path: Some(path.to_owned()), ..Cgroup::default() };
        report.oom_memcg = Some(OomMemcg { cgroup, ..OomMemcg::default() });
        report.trigger = Some(Trigger { pid: 7, ..Trigger::default() });
        let victim = Victim { pid: 7, comm: Some(comm.to_owned()), ..Victim::default() };
        report.victims = vec![Victim { chosen: true, ..victim }];
        report
    }

    fn of(report: &OomReport) -> String {
        fingerprint(report).unwrap()
    }

    #[test]
    fn fingerprint_of_same_service_and_limit_is_equal() {
        let before = report("/kubepods/pod7", "java");
        let mut after = before.clone();
        after.id = "y".to_owned();
        after.victims[0].pid = 9;
        assert_eq!(of(&before), of(&after));
        assert_ne!(of(&before), of(&report("/kubepods/pod8", "java")));
        assert_ne!(of(&before), of(&report("/kubepods/pod7", "node")));
        // The same in every version: histories contain it.
        assert_eq!(of(&before), "e27cfa281846");
    }

    #[test]
    fn fingerprint_differs_by_cause_executable_and_owner() {
        let plain = report("/a", "java");
        let mut caused = plain.clone();
        let (headline, cause) = (String::new(), "page_cache".to_owned());
        caused.verdict =
            Some(Verdict { headline, cause, evidence: vec![], advice: vec![], also: vec![] });
        let mut other = plain.clone();
        other.victims[0].who.exe = Some("/opt/jdk/bin/java".to_owned());
        let mut global = plain.clone();
        (global.oom_memcg, global.constraint) = (None, Some(Constraint::None));
        let all = [of(&plain), of(&caused), of(&other), of(&global)];
        assert_eq!(std::collections::BTreeSet::from(all).len(), 4);
    }

    #[test]
    fn fingerprint_without_victim_or_owner_is_none() {
        let mut without_victim = report("/a", "java");
        without_victim.victims.clear();
        assert_eq!(fingerprint(&without_victim), None);
        let mut nameless = report("/a", "java");
        nameless.oom_memcg = Some(OomMemcg::default());
        assert_eq!(fingerprint(&nameless), None);
    }

    #[test]
    fn frames_change_only_the_stack_part() {
        let named = |name: &str| Frame { symbol: Some(name.to_owned()), ..Frame::default() };
        let mut one = report("/a", "java");
        let unknown = of(&one);
        one.victims[0].user_stack = Some(["memset", "grow", "push", "main"].map(named).to_vec());
        let mut other = one.clone();
        other.victims[0].user_stack = Some(["memset", "grow", "push", "test"].map(named).to_vec());
        // The fourth frame does not count.
        assert_eq!(of(&one), of(&other));
        other.victims[0].user_stack = Some(["memset", "read"].map(named).to_vec());
        assert_ne!(of(&one), of(&other));
        assert_eq!((kill(&of(&one)), kill(&of(&other))), (unknown.as_str(), unknown.as_str()));
        // Addresses differ with every start.
        let address = Frame { ip: Some("0x7f00".to_owned()), ..Frame::default() };
        one.victims[0].user_stack = Some(vec![address]);
        assert_eq!(of(&one), unknown);
    }

    #[test]
    fn stack_of_trigger_counts_if_it_is_the_victim() {
        let frame = |offset| Frame {
            build_id: Some("ab12".to_owned()),
            file_offset: Some(offset),
            ..Frame::default()
        };
        let mut one = report("/a", "java");
        one.trigger.as_mut().unwrap().user_stack = Some(vec![frame(0x10)]);
        let same = of(&one);
        assert!(same.contains('-'));
        one.victims[0].pid = 8;
        assert!(!of(&one).contains('-'));
    }

    #[test]
    fn lasting_path_leaves_out_ids_of_each_start() {
        for (path, expected) in [
            ("/system.slice/app.service".to_owned(), "/system.slice/app.service"),
            (
                format!("/kubepods/burstable/pod7c1f-aa/{CONTAINER}"),
                "/kubepods/burstable/pod7c1f-aa/*",
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-pod7c1f_aa.slice/cri-containerd-{CONTAINER}.scope"
                ),
                "/kubepods.slice/kubepods-pod7c1f_aa.slice/*",
            ),
            (
                "/user.slice/user-0.slice/session-12.scope".to_owned(),
                "/user.slice/user-0.slice/session-*.scope",
            ),
            ("/system.slice/run-u37.scope".to_owned(), "/system.slice/run-u*.scope"),
            ("/system.slice/run-r0a1b2c.scope".to_owned(), "/system.slice/run-r*.scope"),
            ("/".to_owned(), "/"),
        ] {
            assert_eq!(lasting_path(&path), expected);
        }
        // Docker starts a container again under its old id.
        let docker = format!("/docker/{CONTAINER}");
        assert_eq!(lasting_path(&docker), docker);
    }
}
