//! Keys that are absent because oomwhy did not look them up, or does not believe what it found: the
//! look-ups are shared between tenants, and anybody can choose the name of a cgroup.

use super::missing::{add, is_named};
use crate::{
    enrich::container::{self, Maker},
    model::{
        facts::{Findings, LookupKind},
        report::{Cgroup, CgroupOwner, Frame, OomReport, Who},
    },
};

const REFUSED: &str = "the cgroup (a container, pod, service or user) had used up its share of the \
                       look-ups, or too many were waiting";
const UNKNOWN_MAKER: &str = "whose container this is was not found out: a cgroup above it is gone, \
                             or the mounted cgroups do not show it";

/// A part of the report that is about a task or a cgroup.
struct Part<'a> {
    key: &'static str,
    cgroup: Option<&'a Cgroup>,
    owner: &'a CgroupOwner,
    /// The user's id and what is known about the process. `None` for a cgroup.
    process: Option<(Option<u32>, &'a Who)>,
    user_stack: Option<&'a [Frame]>,
}

pub(super) fn add_missing(report: &mut OomReport, seq: u64, findings: &Findings) {
    let refused = findings.refused.get(&seq).map(Vec::as_slice).unwrap_or_default();
    let parts = parts(report);
    let absent = refused.iter().flat_map(|kind| absent(*kind, report, &parts));
    let mut fields: Vec<(String, &str)> = absent.map(|field| (field, REFUSED)).collect();
    let unknown = parts.iter().filter(|part| has_unknown_maker(part, findings));
    fields.extend(unknown.map(|part| (format!("{}.container.name", part.key), UNKNOWN_MAKER)));
    for (field, why) in fields {
        if !is_named(report, &field) {
            add(report, field, why);
        }
    }
}

fn parts(report: &OomReport) -> Vec<Part<'_>> {
    let trigger = report.trigger.iter().map(|trigger| Part {
        key: "trigger",
        cgroup: trigger.cgroup.as_ref(),
        owner: &trigger.owner,
        process: Some((trigger.uid, &trigger.who)),
        user_stack: trigger.user_stack.as_deref(),
    });
    let victims = report.victims.iter().map(|victim| Part {
        key: "victims",
        cgroup: victim.cgroup.as_ref(),
        owner: &victim.owner,
        process: Some((victim.uid, &victim.who)),
        user_stack: victim.user_stack.as_deref(),
    });
    let memcg = report.oom_memcg.iter().map(|memcg| Part {
        key: "oom_memcg",
        cgroup: Some(&memcg.cgroup),
        owner: &memcg.owner,
        process: None,
        user_stack: None,
    });
    trigger.chain(victims).chain(memcg).collect()
}

/// The keys that a look-up of this kind would have given.
fn absent(kind: LookupKind, report: &OomReport, parts: &[Part<'_>]) -> Vec<String> {
    let keys = |lacks: fn(&Part<'_>) -> bool, names: &[&str]| {
        let parts = parts.iter().filter(|part| lacks(part));
        parts.flat_map(|part| names.iter().map(|name| format!("{}.{name}", part.key))).collect()
    };
    match kind {
        LookupKind::Container => keys(has_unnamed_container, &["container.name"]),
        LookupKind::User => keys(|part| part.process.is_some_and(lacks_user), &["user"]),
        LookupKind::Process => keys(
            |part| part.process.is_some_and(|(_, who)| who.cmdline.is_none()),
            &["cmdline", "exe"],
        ),
        LookupKind::Stack => keys(|part| is_unnamed(part.user_stack), &["user_stack.symbol"]),
        LookupKind::Growth => {
            let stacks = report.growth.iter().flat_map(|growth| &growth.stacks);
            let is_any = stacks.map(|stack| stack.user_stack.as_deref()).any(is_unnamed);
            let field = "growth.stacks.user_stack.symbol".to_owned();
            is_any.then_some(field).into_iter().collect()
        }
    }
}

fn has_unnamed_container(part: &Part<'_>) -> bool {
    part.owner.container.as_ref().is_some_and(|container| container.name.is_none())
}

fn lacks_user((uid, who): (Option<u32>, &Who)) -> bool {
    uid.is_some() && who.user.is_none()
}

fn is_unnamed(stack: Option<&[Frame]>) -> bool {
    let is_named = |frame: &Frame| frame.symbol.is_some();
    stack.is_some_and(|frames| !frames.is_empty() && !frames.iter().any(is_named))
}

fn has_unknown_maker(part: &Part<'_>, findings: &Findings) -> bool {
    let path = part.cgroup.and_then(|cgroup| cgroup.path.as_deref()).unwrap_or_default();
    let Some(container) = &part.owner.container else { return false };
    container::maker(container::directory(path, container), findings) == Maker::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::{Outcome, Source, Tier, Trigger};

    const DOCKER: &str = "/docker/9e073649debeec6d511391c9ec7627ee67ce3a3fb508b0fa0437a97f8e58ba98";

    /// A report about a process in this cgroup, without any name.
    fn report(path: &str) -> OomReport {
        let source = Source::new(Tier::Fentry);
        let mut report = OomReport::new("id".to_owned(), Outcome::Killed, source);
        report.trigger = Some(Trigger {
            pid: 7,
            uid: Some(1000),
            cgroup: Some(Cgroup { path: Some(path.to_owned()), ..Cgroup::default() }),
            owner: container::cgroup_owner(path),
            user_stack: Some(vec![Frame::default()]),
            ..Trigger::default()
        });
        report
    }

    fn fields(mut report: OomReport, findings: &Findings) -> Vec<String> {
        add_missing(&mut report, 3, findings);
        report.source.missing.into_iter().map(|missing| missing.field).collect()
    }

    #[test]
    fn refused_look_up_names_the_keys_that_are_absent() {
        for (kind, expected) in [
            (LookupKind::Container, vec!["trigger.container.name"]),
            (LookupKind::User, vec!["trigger.user"]),
            (LookupKind::Process, vec!["trigger.cmdline", "trigger.exe"]),
            (LookupKind::Stack, vec!["trigger.user_stack.symbol"]),
            (LookupKind::Growth, vec![]),
        ] {
            let mut findings = Findings::default();
            findings.refuse(3, &[kind]);
            assert_eq!(fields(report(DOCKER), &findings), expected, "{kind:?}");
            findings.forget(3);
            assert_eq!(fields(report(DOCKER), &findings), [""; 0], "{kind:?}");
        }
    }

    #[test]
    fn refused_look_up_of_what_is_known_anyway_names_nothing() {
        let mut known = report(DOCKER);
        let trigger = known.trigger.as_mut().unwrap();
        trigger.owner.container.as_mut().unwrap().name = Some("app".to_owned());
        trigger.who.user = Some("me".to_owned());
        trigger.who.cmdline = Some(Vec::new());
        trigger.user_stack = Some(vec![Frame { symbol: Some("f".to_owned()), ..Frame::default() }]);
        let mut findings = Findings::default();
        let all = [LookupKind::Container, LookupKind::User, LookupKind::Process, LookupKind::Stack];
        findings.refuse(3, &all);
        assert_eq!(fields(known, &findings), [""; 0]);
    }

    #[test]
    fn container_whose_maker_is_unknown_is_without_a_name() {
        let mut findings = Findings::default();
        for (uid, expected) in
            [(None, vec!["trigger.container.name"]), (Some(1000), vec![]), (Some(0), vec![])]
        {
            findings.cgroup_makers.insert(DOCKER.to_owned(), uid);
            assert_eq!(fields(report(DOCKER), &findings), expected, "{uid:?}");
        }
    }
}
