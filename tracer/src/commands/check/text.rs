//! The text form: one line per hook and per group of fields, each reason once, as a numbered note
//! with its fix.

use std::fmt::Write as _;

use super::{
    Check,
    capabilities::{Capability, Held},
    groups::Group,
    hooks::{HookStatus, Status},
    questions::Question,
    unavailable::Unavailable,
};
use crate::{fmt::sanitize::sanitize, host::policy::Access, model::report::Tier};

/// Columns of a line.
const WIDTH: usize = 96;

/// The text of an answer.
pub(crate) fn text(check: &Check) -> String {
    let mut reasons = Reasons::default();
    let mut text = headline(check);
    section(&mut text, "hooks", check.hooks.iter().map(|hook| hook_line(hook, &mut reasons)));
    section(
        &mut text,
        "fields",
        check.fields.iter().map(|group| group_line(group, check, &mut reasons)),
    );
    section(
        &mut text,
        "the report of a kill here answers",
        check.questions.iter().flat_map(question_lines),
    );
    section(&mut text, "capabilities", check.capabilities.iter().map(capability_line));
    section(&mut text, "host", host_lines(check));
    section(&mut text, "why not, and how to fix it", reasons.lines());
    section(&mut text, "notes", check.notes.iter().flat_map(|note| wrap("-  ", note)));
    text
}

fn section(text: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_some() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{title}");
    }
    for line in lines {
        let _ = writeln!(text, "  {}", line.trim_end());
    }
}

fn headline(check: &Check) -> String {
    let kernel = check.kernel.as_deref().map_or("this kernel".into(), |it| sanitize(it.as_bytes()));
    let verdict = match (check.tier, check.full) {
        (None, _) => "nothing can be traced".to_owned(),
        (Some(tier), true) => format!("the full report is available ({})", word(tier)),
        (Some(tier), false) => format!("a report with gaps is available ({})", word(tier)),
    };
    format!("oomwhy {} on {kernel} ({}): {verdict}\n", check.version, check.arch)
}

/// The name of a tier, as `--attach` takes it.
fn word(tier: Tier) -> &'static str {
    match tier {
        Tier::Fentry => "fentry",
        Tier::Kprobe => "kprobe",
        Tier::Tracepoint => "tracepoint",
        Tier::Kmsg => "kmsg",
    }
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

    fn lines(self) -> Vec<String> {
        let lines = self.0.into_iter().enumerate().flat_map(|(index, missing)| {
            let mut lines = wrap(&format!("[{}] ", index + 1), &sanitize(missing.why.as_bytes()));
            let fix = missing.fix.as_deref().unwrap_or("another kernel");
            lines.extend(wrap("    fix: ", fix));
            lines
        });
        lines.collect()
    }
}

fn hook_line(hook: &HookStatus, reasons: &mut Reasons) -> String {
    let (mark, how) = match &hook.status {
        Status::Available { how, .. } => ("yes", how.clone()),
        Status::NotNeeded { why } => {
            return format!("-    {:29} not needed: {why}", hook.hook.key());
        }
        Status::Missing(missing) => ("no", format!("[{}]", reasons.number(missing))),
    };
    format!("{mark:4} {:29} {how:13} {}", hook.hook.key(), hook.gives)
}

fn group_line(group: &Group, check: &Check, reasons: &mut Reasons) -> String {
    let mut numbers: Vec<usize> =
        group.missing.iter().map(|missing| reasons.number(&missing.reason)).collect();
    let refused = check.refused.as_ref().filter(|_| group.tier.is_none());
    numbers.extend(refused.map(|missing| reasons.number(missing)));
    numbers.sort_unstable();
    numbers.dedup();
    let numbers: Vec<String> = numbers.iter().map(|number| format!("[{number}]")).collect();
    let numbers = numbers.concat();
    let (mark, how) = match group.tier {
        Some(tier) if group.missing.is_empty() => ("yes", word(tier).to_owned()),
        Some(tier) => ("part", format!("{} {numbers}", word(tier))),
        None => ("no", numbers),
    };
    let without: Vec<&str> = group.missing.iter().map(|missing| missing.field.as_str()).collect();
    let without = match without.as_slice() {
        [] => String::new(),
        [first] => format!(", without {first}"),
        [first, rest @ ..] => format!(", without {first} and {} more", rest.len()),
    };
    let question = group.question;
    format!("{mark:4} {:12} {question}  {how:13} {}{without}", group.name, group.about)
}

fn question_lines(question: &Question) -> Vec<String> {
    let mut lines = vec![format!("{} {}", question.question, question.asks)];
    if !question.tells.is_empty() {
        lines.extend(wrap("    yes: ", &question.tells.join("; ")));
    }
    if !question.does_not_tell.is_empty() {
        lines.extend(wrap("    no:  ", &question.does_not_tell.join("; ")));
    }
    lines
}

fn capability_line(capability: &Capability) -> String {
    let held = match capability.held {
        Held::Yes => "yes",
        Held::BySysAdmin => "yes*",
        Held::No => "no",
        Held::NotNeeded => "-",
    };
    format!("{held:4} {:22} {}", capability.name, capability.buys)
}

fn host_lines(check: &Check) -> Vec<String> {
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
    rows.into_iter().map(|(name, value)| format!("{name:33} {value}")).collect()
}

fn cgroups(check: &Check) -> String {
    let mounts = &check.cgroups.mounts;
    let shown = |version: &str, mount: &Option<std::path::PathBuf>| {
        let mount = mount.as_ref()?;
        Some(format!("{version} at {}", sanitize(mount.as_os_str().as_encoded_bytes())))
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
        Access::Absent => "not there".to_owned(),
    }
}

/// Words behind a label, the lines that follow below the first word.
fn wrap(label: &str, words: &str) -> Vec<String> {
    let mut lines = vec![label.to_owned()];
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < WIDTH => {
                if !line.ends_with(' ') {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(format!("{}{word}", " ".repeat(label.len()))),
        }
    }
    lines
}
