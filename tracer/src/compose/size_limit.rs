//! The limit to the size of a report. Lists are cut first, the longest one first, then paths. The
//! verdict, the chosen victim and the limits stay.

use std::io::{self, Write};

use serde::Serialize;

use crate::model::report::{Cgroup, Frame, MAX_LISTED_VICTIMS, OomReport, Truncated, Verdict};

/// Size of a report as one line of JSON. Message queues refuse larger messages (NATS: 1 MiB), and
/// so do readers of lines.
pub(crate) const MAX_REPORT_BYTES: usize = 512 << 10;
/// Room for the type of the record, for the number and the checksum that the history adds, and for
/// the end of the line.
const AROUND_BYTES: usize = 64;
/// Longer paths are cut if the lists alone do not make enough room.
const SHORT_PATH_BYTES: usize = 256;
/// Longer texts are cut, too.
const SHORT_TEXT_BYTES: usize = 1024;

/// A list of a report.
struct List {
    /// The path of the key.
    field: &'static str,
    /// Number of entries. With a list for each victim or row, of the longest one.
    len: fn(&OomReport) -> usize,
    bytes: fn(&OomReport) -> usize,
    truncate: fn(&mut OomReport, usize),
    /// Entries that stay.
    min: usize,
}

const VICTIMS: List = List {
    field: "victims",
    len: |report| report.victims.len(),
    bytes: |report| json_bytes(&report.victims),
    truncate: |report, len| truncate(&mut report.victims, len, |victim| victim.chosen),
    min: 1,
};

/// The lists that can be long.
const LISTS: &[List] = &[
    VICTIMS,
    List {
        field: "victims[].cmdline",
        len: |report| longest(report.victims.iter().map(|it| &it.who.cmdline)),
        bytes: |report| sum(report.victims.iter().map(|it| (&it.who.cmdline, &it.who.cmdline_hex))),
        truncate: |report, len| {
            for who in report.victims.iter_mut().map(|it| &mut it.who) {
                who.cmdline_truncated |= cut_list(&mut who.cmdline, len);
                cut_list(&mut who.cmdline_hex, len);
            }
        },
        min: 1,
    },
    List {
        field: "victims[].user_stack",
        len: |report| longest(report.victims.iter().map(|it| &it.user_stack)),
        bytes: |report| sum(report.victims.iter().map(|it| &it.user_stack)),
        truncate: |report, len| {
            for victim in &mut report.victims {
                cut_list(&mut victim.user_stack, len);
            }
        },
        min: 3,
    },
    List {
        field: "trigger.cmdline",
        len: |report| longest(report.trigger.iter().map(|it| &it.who.cmdline)),
        bytes: |report| sum(report.trigger.iter().map(|it| (&it.who.cmdline, &it.who.cmdline_hex))),
        truncate: |report, len| {
            for who in report.trigger.iter_mut().map(|it| &mut it.who) {
                who.cmdline_truncated |= cut_list(&mut who.cmdline, len);
                cut_list(&mut who.cmdline_hex, len);
            }
        },
        min: 1,
    },
    List {
        field: "trigger.user_stack",
        len: |report| longest(report.trigger.iter().map(|it| &it.user_stack)),
        bytes: |report| sum(report.trigger.iter().map(|it| &it.user_stack)),
        truncate: |report, len| {
            if let Some(trigger) = &mut report.trigger {
                cut_list(&mut trigger.user_stack, len);
            }
        },
        min: 3,
    },
    List {
        field: "trigger.kernel_stack",
        len: |report| longest(report.trigger.iter().map(|it| &it.kernel_stack)),
        bytes: |report| sum(report.trigger.iter().map(|it| &it.kernel_stack)),
        truncate: |report, len| {
            if let Some(trigger) = &mut report.trigger {
                cut_list(&mut trigger.kernel_stack, len);
            }
        },
        min: 3,
    },
    List {
        field: "candidates.list",
        len: |report| report.candidates.iter().map(|it| it.list.len()).sum(),
        bytes: |report| sum(report.candidates.iter().map(|it| &it.list)),
        truncate: |report, len| {
            if let Some(candidates) = &mut report.candidates {
                truncate(&mut candidates.list, len, |row| row.chosen);
            }
        },
        min: 1,
    },
    List {
        field: "growth.stacks",
        len: |report| report.growth.iter().map(|it| it.stacks.len()).sum(),
        bytes: |report| sum(report.growth.iter().map(|it| &it.stacks)),
        truncate: |report, len| {
            if let Some(growth) = &mut report.growth {
                growth.stacks.truncate(len);
            }
        },
        min: 1,
    },
    List {
        field: "growth.stacks[].user_stack",
        len: |report| {
            longest(report.growth.iter().flat_map(|it| &it.stacks).map(|it| &it.user_stack))
        },
        bytes: |report| {
            sum(report.growth.iter().flat_map(|it| &it.stacks).map(|it| &it.user_stack))
        },
        truncate: |report, len| {
            for stack in report.growth.iter_mut().flat_map(|it| &mut it.stacks) {
                cut_list(&mut stack.user_stack, len);
            }
        },
        min: 3,
    },
    List {
        field: "growth.curve",
        len: |report| report.growth.iter().map(|it| it.curve.len()).sum(),
        bytes: |report| sum(report.growth.iter().map(|it| &it.curve)),
        truncate: |report, len| {
            if let Some(growth) = &mut report.growth {
                // The end of the curve is the kill.
                growth.curve.drain(..growth.curve.len().saturating_sub(len));
            }
        },
        min: 2,
    },
    List {
        field: "source.missing",
        len: |report| report.source.missing.len(),
        bytes: |report| json_bytes(&report.source.missing),
        truncate: |report, len| report.source.missing.truncate(len),
        min: 8,
    },
    List {
        field: "system.nodes",
        len: |report| longest(report.system.iter().map(|it| &it.nodes)),
        bytes: |report| sum(report.system.iter().map(|it| &it.nodes)),
        truncate: |report, len| {
            if let Some(system) = &mut report.system {
                cut_list(&mut system.nodes, len);
            }
        },
        min: 1,
    },
];

/// Cuts a report that is larger than [`MAX_REPORT_BYTES`], or has too many victims.
pub(crate) fn fit(mut report: OomReport) -> OomReport {
    const MAX: usize = MAX_REPORT_BYTES - AROUND_BYTES;
    cut(&mut report, &VICTIMS, MAX_LISTED_VICTIMS);
    while json_bytes(&report) > MAX {
        let cuttable = LISTS.iter().filter(|list| (list.len)(&report) > list.min);
        let Some(longest) = cuttable.max_by_key(|list| (list.bytes)(&report)) else {
            shorten_texts(&mut report);
            break;
        };
        let half = (longest.len)(&report) / 2;
        cut(&mut report, longest, half.max(longest.min));
    }
    report
}

fn cut(report: &mut OomReport, list: &List, len: usize) {
    let before = (list.len)(report);
    if before > len {
        (list.truncate)(report, len);
        let after = (list.len)(report);
        note(report, list.field, before, after);
    }
}

/// Notes that a list was cut. Its total includes the entries that were cut before, also by the
/// probes.
fn note(report: &mut OomReport, field: &str, before: usize, after: usize) {
    let n_victims = (field == "victims").then(|| report.n_victims().max(before));
    let count = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    if let Some(total) = n_victims {
        report.victims_total = Some(count(total));
    }
    match report.truncated.iter_mut().find(|known| known.field == field) {
        Some(known) => known.kept = known.kept.min(count(after)),
        None => report.truncated.push(Truncated {
            field: field.to_owned(),
            kept: count(after),
            total: count(n_victims.unwrap_or(before)),
        }),
    }
}

/// The last resort, for names that were made to be long: even one entry of each list is too much.
fn shorten_texts(report: &mut OomReport) {
    let trigger = report.trigger.iter_mut();
    let trigger = trigger.map(|it| (&mut it.who, &mut it.cgroup, &mut it.user_stack));
    let victims = report.victims.iter_mut();
    let victims = victims.map(|it| (&mut it.who, &mut it.cgroup, &mut it.user_stack));
    for (who, cgroup, stack) in trigger.chain(victims) {
        shorten(&mut who.exe, &mut who.exe_hex, &mut who.exe_truncated);
        for argument in who.cmdline.iter_mut().flatten() {
            who.cmdline_truncated |= argument.len() > SHORT_TEXT_BYTES;
            argument.truncate(argument.floor_char_boundary(SHORT_TEXT_BYTES));
        }
        who.cmdline_hex = None;
        cgroup.iter_mut().for_each(shorten_path);
        stack.iter_mut().flatten().for_each(shorten_frame);
    }
    if let Some(memcg) = &mut report.oom_memcg {
        shorten_path(&mut memcg.cgroup);
    }
    report.limit_chain.iter_mut().flatten().for_each(|level| shorten_path(&mut level.cgroup));
    for stack in report.growth.iter_mut().flat_map(|growth| &mut growth.stacks) {
        stack.user_stack.iter_mut().flatten().for_each(shorten_frame);
    }
    if let Some(verdict) = &mut report.verdict {
        let Verdict { headline, evidence, advice, also, .. } = verdict;
        let lists = [evidence, advice, also].into_iter().flatten();
        for text in lists.chain([headline]) {
            text.truncate(text.floor_char_boundary(SHORT_TEXT_BYTES));
        }
    }
    for missing in &mut report.source.missing {
        missing.why.truncate(missing.why.floor_char_boundary(SHORT_TEXT_BYTES));
    }
}

fn shorten_path(cgroup: &mut Cgroup) {
    shorten(&mut cgroup.path, &mut cgroup.path_hex, &mut cgroup.path_truncated);
}

/// Keeps the end of a path, as the probes do.
fn shorten(path: &mut Option<String>, hex: &mut Option<String>, is_truncated: &mut bool) {
    if let Some(text) = path.as_mut().filter(|text| text.len() > SHORT_PATH_BYTES) {
        text.drain(..text.ceil_char_boundary(text.len() - SHORT_PATH_BYTES));
        *hex = None;
        *is_truncated = true;
    }
}

fn shorten_frame(frame: &mut Frame) {
    if let Some(file) = frame.file.as_mut().filter(|file| file.len() > SHORT_PATH_BYTES) {
        file.truncate(file.floor_char_boundary(SHORT_PATH_BYTES));
    }
}

fn longest<'a, T: 'a>(lists: impl Iterator<Item = &'a Option<Vec<T>>>) -> usize {
    lists.flatten().map(Vec::len).max().unwrap_or_default()
}

fn sum<T: Serialize>(lists: impl Iterator<Item = T>) -> usize {
    lists.map(|list| json_bytes(&list)).sum()
}

/// Cuts a list, but keeps the chosen entry: in the last place if it was cut off.
fn truncate<T>(list: &mut Vec<T>, len: usize, is_chosen: impl Fn(&T) -> bool) {
    let chosen = list.iter().skip(len).position(is_chosen);
    if let (Some(chosen), Some(last)) = (chosen, len.checked_sub(1)) {
        list.swap(last, len + chosen);
    }
    list.truncate(len);
}

/// Cuts a list; returns whether it was longer.
fn cut_list<T>(list: &mut Option<Vec<T>>, len: usize) -> bool {
    let Some(list) = list.as_mut().filter(|list| list.len() > len) else { return false };
    list.truncate(len);
    true
}

/// The first items, as many as a report may have. The first one stays. The items take memory when
/// they are composed, so it is too late to cut them only in the complete report.
pub(super) fn that_fit<T: Serialize>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut bytes = 0;
    let fits = |item: &T| {
        let is_first = bytes == 0;
        bytes += json_bytes(item);
        is_first || bytes <= MAX_REPORT_BYTES
    };
    items.take_while(fits).collect()
}

/// The size of a value as JSON.
fn json_bytes(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // A value without a JSON form is refused when it is written.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::{
        Candidate, Candidates, Growth, GrowthPoint, GrowthStack, LimitLevel, Missing, OomMemcg,
        Outcome, Record, Source, Tier, Trigger, Victim, Who,
    };

    /// A character that takes six bytes as JSON.
    const HOSTILE: &str = "\u{1}";

    fn path(bytes: usize) -> Cgroup {
        Cgroup { path: Some(HOSTILE.repeat(bytes)), ..Cgroup::default() }
    }

    fn stack() -> Vec<Frame> {
        let text = |bytes| Some(HOSTILE.repeat(bytes));
        let frame = Frame { symbol: text(512), file: text(4096), ..Frame::default() };
        vec![frame; 8]
    }

    /// Everything as long as it may be.
    fn extreme(n_victims: i32) -> OomReport {
        let mut report = OomReport::new("x".into(), Outcome::Killed, Source::new(Tier::Fentry));
        let who = Who {
            exe: Some(HOSTILE.repeat(4096)),
            cmdline: Some(vec![HOSTILE.repeat(64); 64]),
            cmdline_hex: Some(vec!["01".repeat(64); 64]),
            ..Who::default()
        };
        let victim = |pid| Victim {
            pid,
            chosen: pid == n_victims,
            who: who.clone(),
            cgroup: Some(path(4096)),
            user_stack: Some(stack()),
            ..Victim::default()
        };
        report.victims = (1..=n_victims).map(victim).collect();
        report.trigger = Some(Trigger {
            who: who.clone(),
            cgroup: Some(path(4096)),
            user_stack: Some(stack()),
            kernel_stack: Some(stack()),
            ..Trigger::default()
        });
        report.oom_memcg = Some(OomMemcg { cgroup: path(4096), ..OomMemcg::default() });
        let level = LimitLevel { cgroup: path(4096), max_bytes: Some(7), ..LimitLevel::default() };
        report.limit_chain = Some(vec![level; 17]);
        let row = Candidate { comm: Some(HOSTILE.repeat(15)), ..Candidate::default() };
        let chosen = Candidate { chosen: true, ..row.clone() };
        let list = [vec![row; 31], vec![chosen]].concat();
        report.candidates = Some(Candidates { list, ..Candidates::default() });
        let point = GrowthPoint { t_ns: 1, usage_bytes: 2, limit_bytes: None };
        let site = GrowthStack {
            bytes: 7,
            pid: None,
            comm: None,
            user_stack: Some(stack()),
            kernel_stack: None,
        };
        report.growth = Some(Growth {
            since: None,
            rate_bytes_per_s: None,
            kind: None,
            curve: vec![point; 10_000],
            stacks: vec![site; 32],
            unwound_share: None,
        });
        let missing = Missing { field: "x".into(), why: HOSTILE.repeat(10_000) };
        report.source.missing = vec![missing; 100];
        report
    }

    /// The line of the history.
    fn line(report: OomReport) -> String {
        let mut json = serde_json::to_string(&Record::Oom(Box::new(report))).unwrap();
        assert_eq!(json.pop(), Some('}'));
        format!("{json},\"seq\":{},\"crc\":\"00000000\"}}\n", u64::MAX)
    }

    #[test]
    fn small_report_stays_as_it_is() {
        let report = OomReport::new("x".into(), Outcome::Killed, Source::new(Tier::Fentry));
        assert_eq!(fit(report.clone()), report);
    }

    #[test]
    fn large_report_is_cut_to_its_size_and_says_so() {
        for n_victims in [1, 2, 8] {
            let report = fit(extreme(n_victims));
            let cut = report.clone();
            let line = line(report);
            assert!(line.len() <= MAX_REPORT_BYTES, "{} bytes", line.len());
            assert_eq!(cut.limit_chain.as_ref().map(Vec::len), Some(17), "the limits stay");
            assert!(cut.victims.iter().any(|victim| victim.chosen));
            let rows = &cut.candidates.as_ref().unwrap().list;
            assert!(rows.iter().any(|row| row.chosen), "the chosen one stays");
            let fields: Vec<&str> = cut.truncated.iter().map(|it| it.field.as_str()).collect();
            assert!(fields.contains(&"growth.stacks"), "{fields:?}");
        }
    }

    #[test]
    fn victims_of_any_source_are_cut_to_the_number_that_is_listed() {
        let mut report = OomReport::new("x".into(), Outcome::Killed, Source::new(Tier::Kmsg));
        let victim = |pid| Victim { pid, chosen: pid == 999, ..Victim::default() };
        report.victims = (0..1000).map(victim).collect();
        let cut = fit(report);
        assert_eq!(
            (cut.victims.len(), cut.victims[255].pid, cut.victims_total),
            (256, 999, Some(1000))
        );
        let truncated = Truncated { field: "victims".into(), kept: 256, total: 1000 };
        assert_eq!(cut.truncated, [truncated]);
    }

    #[test]
    fn longest_list_is_cut_first_and_all_victims_are_counted() {
        let mut report = extreme(200);
        (report.growth, report.candidates, report.trigger) = (None, None, None);
        report.source.missing.clear();
        (report.limit_chain, report.oom_memcg) = (None, None);
        for victim in &mut report.victims {
            *victim = Victim { pid: victim.pid, cgroup: Some(path(4096)), ..Victim::default() };
        }
        let cut = fit(report);
        let total = Some(200);
        assert_eq!((cut.victims[0].pid, cut.victims_total), (1, total));
        let kept = u64::try_from(cut.victims.len()).unwrap();
        assert!(kept > 4 && kept < 200, "{kept}");
        assert_eq!(cut.truncated, [Truncated { field: "victims".into(), kept, total: 200 }]);
        assert!(cut.has_unlisted_victims());
        assert!(cut.victims[0].cgroup.as_ref().unwrap().path.as_ref().unwrap().len() == 4096);
    }
}
