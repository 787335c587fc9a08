//! One small report per rule, conclusions that must not be drawn, and the page of the rules.

mod reports;

use std::{collections::BTreeSet, fmt::Write};

use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use self::reports::{Case, cases};
use super::{RULES, UNKNOWN, choice, verdict};
use crate::{
    model::report::{Record, System, Victim},
    output::fixtures,
};

fn text_of(case: &Case) -> String {
    let verdict = verdict(&case.report);
    let mut text = format!("## {}: {}\n{}\n", case.name, verdict.cause, verdict.headline);
    for (mark, lines) in [("also", verdict.also), ("-", verdict.evidence), ("=>", verdict.advice)] {
        for line in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{mark} {line}");
        }
    }
    text
}

#[test]
fn small_report_of_each_rule_gets_its_cause() {
    for case in cases() {
        assert_eq!(verdict(&case.report).cause, case.cause, "{}", text_of(&case));
    }
}

#[test]
fn verdicts_are_as_reviewed() {
    let all: Vec<String> = cases().iter().map(text_of).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn each_rule_holds_in_some_report() {
    let held: BTreeSet<String> = cases()
        .iter()
        .map(|case| verdict(&case.report))
        .flat_map(|verdict| verdict.also.into_iter().chain([verdict.cause]))
        .collect();
    for (name, _) in RULES {
        assert!(held.contains(name), "{name}");
    }
    assert!(held.contains(UNKNOWN));
}

#[test]
fn page_lists_rules_in_order_of_code() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verdicts.md");
    let page = std::fs::read_to_string(page).unwrap();
    let row = |line: &str| line.strip_prefix("| `")?.split('`').next().map(str::to_owned);
    let written: Vec<String> = page.lines().filter_map(row).collect();
    let coded: Vec<&str> = RULES.iter().map(|(name, _)| *name).chain([UNKNOWN]).collect();
    assert_eq!(written, coded);
}

#[test]
fn every_report_gets_clean_sentences() {
    for (name, record) in fixtures::all() {
        let Record::Oom(report) = record else { continue };
        let verdict = verdict(&report);
        let lines = [&verdict.headline].into_iter().chain(&verdict.evidence).chain(&verdict.advice);
        for line in lines {
            assert!(!line.is_empty() && !line.ends_with('.'), "{name}: {line}");
            assert!(!line.chars().any(char::is_control), "{name}: {line:?}");
        }
    }
}

#[test]
fn figures_read_after_memory_was_freed_prove_nothing() {
    let case = cases().into_iter().find(|case| case.cause == "fragmentation").unwrap();
    let mut late = case.report.clone();
    let system = late.system.take().unwrap();
    // The victim was marked at 2 ms and gone at 5 ms.
    late.system = Some(System { age_ns: Some(6_000_000), ..system });
    assert_eq!(verdict(&late).cause, "host_short");
    let mut unknown = case.report;
    unknown.victims = vec![Victim { pid: 1, ..Victim::default() }];
    assert_eq!(verdict(&unknown).cause, "host_short");
}

#[test]
fn ineligible_candidate_is_not_named_as_alternative() {
    let case = cases().into_iter().find(|case| case.cause == "oom_score_adj").unwrap();
    let mut report = case.report;
    for task in report.candidates.iter_mut().flat_map(|all| &mut all.list) {
        if !task.chosen {
            task.eligible = false;
            task.points = None;
        }
    }
    assert_ne!(verdict(&report).cause, "oom_score_adj");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The advised oom_score_adj is the first that changes the order.
    #[test]
    fn advised_oom_score_adj_changes_the_choice(
        points in -2_000_000_000_i64..2_000_000_000,
        weight in 1_i64..5_000_000,
    ) {
        let below = choice::below(points, weight);
        prop_assert!((below - 1) * weight < points && below * weight >= points);
        let above = choice::above(points, weight);
        prop_assert!((above + 1) * weight > points && above * weight <= points);
    }
}
