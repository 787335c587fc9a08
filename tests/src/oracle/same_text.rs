//! Compares the texts of the kernel's reports with and without oomwhy.

use super::check::Check;
use crate::kmsg;

/// Parts of the names of functions that are on a stack only because of tracing.
const TRACING: &[&str] =
    &["bpf_trampoline", "bpf_prog", "bpf_trace_run", "kretprobe", "rethook", "__traceiter"];

/// Half of the reports were printed while oomwhy traced, the other half after that. The same
/// allocation does not fail each time, so one pair must be the same.
pub(super) fn compare(check: &mut Check, log: &str) {
    let reports = reports(log);
    let (traced, untraced) = reports.split_at(reports.len() / 2);
    for line in traced.iter().flatten() {
        if TRACING.iter().any(|name| line.contains(name)) {
            check.disagree(format!("the kernel's report has a line of tracing: {line}"));
        }
    }
    let shapes = |reports: &[Vec<String>]| reports.iter().map(|it| shape(it)).collect::<Vec<_>>();
    let (traced, untraced) = (shapes(traced), shapes(untraced));
    let Some((first, other)) = traced.first().zip(untraced.first()) else {
        check.disagree("the kernel printed no two reports".to_owned());
        return;
    };
    if traced.iter().any(|shape| untraced.contains(shape)) {
        return;
    }
    check.equal("lines of the kernel's report", first.len(), other.len());
    for (traced, untraced) in first.iter().zip(other).filter(|(traced, it)| traced != it) {
        check.disagree(format!("the kernel printed `{traced}`, and without oomwhy `{untraced}`"));
    }
}

/// The lines of each report, from its first to the first victim.
fn reports(log: &str) -> Vec<Vec<String>> {
    let mut reports: Vec<Vec<String>> = Vec::new();
    let mut is_inside = false;
    for text in kmsg::texts(log) {
        for line in text.lines() {
            if line.contains(" invoked oom-killer: ") {
                reports.push(Vec::new());
                is_inside = true;
            }
            if let Some(report) = reports.last_mut().filter(|_| is_inside) {
                report.push(line.to_owned());
            }
            is_inside &= !line.contains(": Killed process ");
        }
    }
    reports
}

/// The lines without numbers, and without the frames that the unwinder only guesses (marked `?`).
fn shape(report: &[String]) -> Vec<String> {
    let lines = report.iter().filter(|line| !line.trim_start().starts_with("? "));
    lines.map(|line| without_numbers(line)).collect()
}

fn without_numbers(line: &str) -> String {
    let mut shape = String::new();
    let mut word = String::new();
    for char in line.chars().chain(std::iter::once(' ')) {
        if char.is_ascii_alphanumeric() {
            word.push(char);
            continue;
        }
        shape.push_str(&without_number(&word));
        word.clear();
        if !(char == ' ' && shape.ends_with(' ')) {
            shape.push(char);
        }
    }
    shape.trim().to_owned()
}

fn without_number(word: &str) -> String {
    let hexadecimal = word.strip_prefix("0x").unwrap_or(word);
    let is_hexadecimal = hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    if is_hexadecimal && (has_digit || word.len() >= 8) {
        return "#".to_owned();
    }
    let mut shape = String::new();
    for char in word.chars() {
        match char {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            other => shape.push(other),
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(frames: &[&str], number: u32) -> String {
        let mut lines = vec![format!("hog invoked oom-killer: gfp_mask=0x{number:x}, order=0")];
        lines.extend(frames.iter().map(|frame| format!(" {frame}+0x{number:x}/0x9a0")));
        lines.push(format!("[  {number}]  0  {number} 7f{number} {number}kB hog"));
        lines.push(format!("Memory cgroup out of memory: Killed process {number} (hog)"));
        lines.push("oom_reaper: reaped process".to_owned());
        let records = lines.iter().map(|line| format!("4,{number},{number},-;{line}"));
        records.collect::<Vec<_>>().join("\n") + "\n"
    }

    fn verdict(log: &str) -> Vec<String> {
        let mut check = Check::default();
        compare(&mut check, log);
        check.disagreements
    }

    #[test]
    fn reports_that_differ_in_numbers_are_the_same() {
        let plain = ["dump_header", "out_of_memory"];
        let log = report(&plain, 4095) + &report(&["? x", "dump_header", "out_of_memory"], 17);
        assert_eq!(verdict(&log), [""; 0]);
    }

    #[test]
    fn frame_of_tracing_and_missing_frame_are_found() {
        let plain = ["dump_header", "out_of_memory"];
        let with_frame = ["dump_header", "out_of_memory", "bpf_trampoline_6442499072"];
        let log = report(&with_frame, 1) + &report(&plain, 2);
        assert_eq!(verdict(&log).len(), 4, "{:?}", verdict(&log));
        let log = report(&plain[..1], 1) + &report(&plain, 2);
        assert!(!verdict(&log).is_empty());
        assert_eq!(verdict("").len(), 1);
    }

    #[test]
    fn one_of_several_is_enough() {
        let (common, rare) = (["dump_header", "out_of_memory"], ["dump_header"]);
        let log = report(&rare, 1) + &report(&common, 2) + &report(&common, 3) + &report(&rare, 4);
        assert_eq!(verdict(&log), [""; 0]);
        let log = report(&rare, 1) + &report(&rare, 2) + &report(&common, 3) + &report(&common, 4);
        assert!(!verdict(&log).is_empty());
    }
}
