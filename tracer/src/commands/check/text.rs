//! The text form: one line per hook and per group of fields, each reason once, as a numbered note
//! with its fix.

use anstyle::{AnsiColor, Style};

use super::{
    Check,
    capabilities::{Capability, Held},
    groups::FieldGroup,
    hooks::{HookStatus, Status},
    questions::Question,
    unavailable::Unavailable,
};
use crate::{
    fmt::{lines::Lines, page::Page, sanitize::sanitize},
    host::policy::Access,
};

/// The text of an answer, in lines of `width` columns.
pub(crate) fn text(check: &Check, width: usize) -> Lines {
    let mut reasons = Reasons::default();
    let mut page = Page::new(width);
    page.section("", 0).joined("", &headline(check), " ", Style::new().bold());
    section(
        &mut page,
        "hooks, and what each contributes to a report",
        check.hooks.iter().map(|hook| hook_line(hook, &mut reasons)),
    );
    let groups = check.fields.iter().map(|group| group_line(group, check, &mut reasons));
    section(&mut page, "groups of fields in a report, each with its question", groups);
    let questions = check.questions.iter().flat_map(question_lines);
    section(&mut page, "questions that a report on this host answers", questions);
    section(&mut page, "capabilities", check.capabilities.iter().map(capability_line));
    section(&mut page, "host", host_lines(check));
    section(&mut page, "why something is missing, and how to fix it", reasons.lines());
    let notes = check.notes.iter().map(|note| ("-  ".to_owned(), note.clone()));
    section(&mut page, "notes", notes);
    page.finish()
}

/// The left of a line, and the words behind it that wrap.
type Line = (String, String);

fn section(page: &mut Page, title: &str, lines: impl IntoIterator<Item = Line>) {
    let mut rest = lines.into_iter().peekable();
    if rest.peek().is_some() {
        page.empty_line();
        page.line(AnsiColor::Cyan.on_default().bold(), title);
    }
    for (lead, words) in rest {
        page.words(&format!("  {lead}"), Style::new(), &words);
    }
}

/// The checked version and kernel, and the result, which is not broken over two lines.
fn headline(check: &Check) -> [String; 2] {
    let kernel = check.kernel.as_deref().map_or("this kernel".into(), |it| sanitize(it.as_bytes()));
    let verdict = match (check.tier, check.full) {
        (None, _) => "nothing can be traced".to_owned(),
        (Some(tier), true) => format!("the full report is available ({})", tier.name()),
        (Some(tier), false) => {
            format!("a report is available, but without some fields ({})", tier.name())
        }
    };
    [format!("oomwhy {} on {kernel} ({}):", check.version, check.arch), verdict]
}

/// Reasons, each once, numbered.
#[derive(Default)]
struct Reasons(Vec<Unavailable>);

impl Reasons {
    fn number(&mut self, missing: &Unavailable) -> usize {
        let known = self.0.iter().position(|known| known == missing);
        known.unwrap_or_else(|| {
            self.0.push(missing.clone());
            self.0.len() - 1
        }) + 1
    }

    fn lines(self) -> impl Iterator<Item = Line> {
        self.0.into_iter().enumerate().flat_map(|(index, missing)| {
            let fix = missing.fix.unwrap_or_else(|| "only another kernel helps".to_owned());
            let why = sanitize(missing.why.as_bytes());
            [(format!("[{}] ", index + 1), why), ("    fix: ".to_owned(), fix)]
        })
    }
}

fn hook_line(hook: &HookStatus, reasons: &mut Reasons) -> Line {
    let (mark, how) = match &hook.status {
        Status::Available { how, .. } => ("yes", how.clone()),
        Status::NotNeeded { why } => {
            return (format!("-    {:29} ", hook.hook.key()), format!("not needed: {why}"));
        }
        Status::Missing(missing) => ("no", format!("[{}]", reasons.number(missing))),
    };
    (format!("{mark:4} {:29} {how:13} ", hook.hook.key()), hook.gives.to_string())
}

fn group_line(group: &FieldGroup, check: &Check, reasons: &mut Reasons) -> Line {
    let mut numbers: Vec<usize> =
        group.missing.iter().map(|missing| reasons.number(&missing.reason)).collect();
    let refused = check.refused.as_ref().filter(|_| group.tier.is_none());
    numbers.extend(refused.map(|missing| reasons.number(missing)));
    numbers.sort_unstable();
    numbers.dedup();
    let marks: Vec<String> = numbers.iter().map(|number| format!("[{number}]")).collect();
    let notes = marks.concat();
    let (mark, how) = match group.tier {
        Some(tier) if group.missing.is_empty() => ("yes", tier.name().to_owned()),
        Some(tier) => ("part", format!("{} {notes}", tier.name())),
        None => ("no", notes),
    };
    let partly = if group.tier.is_some() { group.missing.as_slice() } else { &[] };
    let without: Vec<&str> = partly.iter().map(|missing| missing.field.as_str()).collect();
    let without = match without.as_slice() {
        [] => String::new(),
        [first] => format!(", without {first}"),
        [first, rest @ ..] => format!(", without {first} and {} more", rest.len()),
    };
    let question = group.question;
    let lead = format!("{mark:4} {:12} {question}  {how:13} ", group.name);
    (lead, format!("{}{without}", group.about))
}

fn question_lines(question: &Question) -> impl Iterator<Item = Line> {
    let lead = format!("{:7} {}  ", question.verdict(), question.question);
    let available = ("           available: ".to_owned(), question.available.join("; "));
    let missing = ("           missing:   ".to_owned(), question.missing.join("; "));
    let details = [available, missing].into_iter().filter(|(_, details)| !details.is_empty());
    std::iter::once((lead, question.asks.to_owned())).chain(details)
}

fn capability_line(capability: &Capability) -> Line {
    let (mark, note) = match capability.held {
        Held::Yes => ("yes", ""),
        Held::BySysAdmin => ("yes", "; CAP_SYS_ADMIN includes it"),
        Held::No => ("no", ""),
        Held::NotNeeded => ("-", "; not needed on this host"),
    };
    (format!("{mark:4} {:22} ", capability.name), format!("{}{note}", capability.buys))
}

fn host_lines(check: &Check) -> impl Iterator<Item = Line> {
    let settings = &check.settings;
    let number =
        |value: Option<i32>| value.map_or("not visible".to_owned(), |value| value.to_string());
    let lockdown = format!("{:?}", check.lockdown).to_lowercase();
    let memlock = settings
        .memlock_bytes
        .map_or("unlimited".to_owned(), |bytes| format!("{} KiB", bytes / 1024));
    let btf = if check.btf.usable { "" } else { ", not usable" };
    let uid = check.uid.map_or("unknown".to_owned(), |uid| uid.to_string());
    let rows = [
        ("user", format!("uid {uid}")),
        ("lockdown", lockdown),
        ("kernel.perf_event_paranoid", number(settings.perf_event_paranoid)),
        ("kernel.kptr_restrict", number(settings.kptr_restrict)),
        ("kernel.unprivileged_bpf_disabled", number(settings.unprivileged_bpf_disabled)),
        ("net.core.bpf_jit_enable", number(settings.bpf_jit_enable)),
        ("kernel.dmesg_restrict", number(settings.dmesg_restrict)),
        ("BTF", format!("{}{btf}", sanitize(check.btf.path.as_bytes()))),
        ("cgroups", cgroups(check)),
        ("tracefs", access(&settings.tracefs)),
        ("/dev/kmsg", access(&settings.kmsg)),
        ("ring", format!("{} KiB", check.ring_bytes / 1024)),
        ("RLIMIT_MEMLOCK", memlock),
    ];
    rows.into_iter().map(|(name, value)| (format!("{name:33} "), value))
}

fn cgroups(check: &Check) -> String {
    let mounts = &check.cgroups.mounts;
    let shown = |version: &str, mount: &Option<std::path::PathBuf>| {
        let path = mount.as_ref()?.as_os_str();
        Some(format!("{version} at {}", sanitize(path.as_encoded_bytes())))
    };
    let mounted: Vec<String> = [shown("v1 memory", &mounts.v1_memory), shown("v2", &mounts.v2)]
        .into_iter()
        .flatten()
        .collect();
    let paths = if check.cgroups.paths { "paths are known" } else { "paths are not known" };
    match mounted.as_slice() {
        [] => format!("not mounted; {paths}"),
        mounted => format!("{}; {paths}", mounted.join(", ")),
    }
}

fn access(access: &Access) -> String {
    let shown = |path: &std::path::Path| sanitize(path.as_os_str().as_encoded_bytes());
    match access {
        Access::Readable { path } => format!("readable: {}", shown(path)),
        Access::Denied { path, why } => format!("{}: {why}", shown(path)),
        Access::Absent => "not found".to_owned(),
    }
}
