//! The start-up lines of a tracer: the tier it uses, and the fields that its reports will not have.

use anstyle::Style;

use crate::{
    fmt::{lines::Lines, page::Page, sanitize::sanitize, units::count},
    model::{
        host::Host,
        report::{Missing, Tier},
    },
    output::view::missing::{MissingGroup, by_reason},
};

/// Fields that are named of those that the tier does not have.
const NAMED: usize = 4;

/// The lines, the most relevant first. With `verbose`, every missing field is named with its whole
/// reason.
pub(super) fn banner(host: &Host, verbose: bool, width: usize) -> Lines {
    let mut page = Page::new(width);
    page.line(Style::new(), headline(host));
    let is_shown = |missing: &&Missing| verbose || !missing.is_of_tier();
    let (shown, of_tier): (Vec<&Missing>, Vec<_>) = host.missing.iter().partition(is_shown);
    for MissingGroup { fields, why } in by_reason(shown.into_iter()) {
        item(&mut page, &format!("not available: {fields} ({why})"));
    }
    // Better tiers that this host refuses.
    let (tiers, of_tier): (Vec<&Missing>, Vec<_>) =
        of_tier.into_iter().partition(|missing| missing.field.starts_with("tier "));
    for Missing { field, why } in tiers {
        item(&mut page, &format!("{field} is not available: {}", essence(why)));
    }
    let fields: Vec<&str> = of_tier.iter().map(|missing| missing.field.as_str()).collect();
    if !fields.is_empty() {
        item(&mut page, &fields_of_tier(&fields, host.tier));
    }
    page.finish()
}

/// "Tracing OOM kills on 6.12.1 (fentry). Ctrl-C to stop."
pub(super) fn headline(host: &Host) -> String {
    let release = host.kernel.as_deref().map(|release| sanitize(release.as_bytes()));
    let kernel = release.as_deref().unwrap_or("this kernel");
    format!("Tracing OOM kills on {kernel} ({}). Ctrl-C to stop.", host.tier.name())
}

fn fields_of_tier(fields: &[&str], tier: Tier) -> String {
    let named: Vec<&str> = fields.iter().take(NAMED).copied().collect();
    let more = fields.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "tier {} does not have {}: {}{more} (`oomwhy check` shows why, -v lists them)",
        tier.name(),
        count(fields.len(), "field"),
        named.join(", ")
    )
}

/// The reason of a refusal without its details and its fix, which `oomwhy check` has.
fn essence(message: &str) -> &str {
    let first = message.lines().next().unwrap_or_default();
    let end = [" (", ", so ", "; "].into_iter().filter_map(|end| first.find(end)).min();
    first.get(..end.unwrap_or(first.len())).unwrap_or(first)
}

/// A message wrapped for the terminal.
pub(super) fn wrapped(message: &str, width: usize) -> Lines {
    let mut page = Page::new(width);
    page.words("", Style::new(), message);
    page.finish()
}

fn item(page: &mut Page, sentence: &str) {
    page.words("- ", Style::new(), sentence);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        let missing = |field: &str, why: &str| Missing { field: field.into(), why: why.into() };
        let of_tier = ["outcome", "reason", "constraint", "limit_chain", "candidates"];
        let why = "tier tracepoint: oom:mark_victim only shows which task is marked to die";
        let mut all: Vec<Missing> = of_tier.iter().map(|field| missing(field, why)).collect();
        all.push(missing("growth", "it is recorded by fentry or kprobe"));
        all.push(missing("tier fentry", "the policy forbids it (an LSM), so it is refused"));
        let kernel = Some("6.12".to_owned());
        Host { kernel, missing: all, ..Host::of_tier(Tier::Tracepoint) }
    }

    #[test]
    fn banner_names_what_was_asked_for_first_and_counts_the_fields_of_the_tier() {
        insta::assert_snapshot!(banner(&host(), false, 79), @r"
        Tracing OOM kills on 6.12 (tracepoint). Ctrl-C to stop.
        - not available: growth (it is recorded by fentry or kprobe)
        - tier fentry is not available: the policy forbids it
        - tier tracepoint does not have 5 fields: outcome, reason, constraint,
          limit_chain and 1 more (`oomwhy check` shows why, -v lists them)
        ");
    }

    #[test]
    fn verbose_banner_names_every_field_with_its_whole_reason() {
        insta::assert_snapshot!(banner(&host(), true, 79), @r"
        Tracing OOM kills on 6.12 (tracepoint). Ctrl-C to stop.
        - not available: outcome, reason, constraint, limit_chain, candidates (tier
          tracepoint: oom:mark_victim only shows which task is marked to die)
        - not available: growth (it is recorded by fentry or kprobe)
        - not available: tier fentry (the policy forbids it (an LSM), so it is refused)
        ");
    }
}
