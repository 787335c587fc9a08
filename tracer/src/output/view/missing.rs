//! The missing fields, grouped by reason.

use super::safe;
use crate::model::report::{Missing, Source};

/// Fields that are missing for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingGroup {
    pub(crate) fields: String,
    pub(crate) why: String,
}

pub(crate) fn groups(source: &Source) -> Vec<MissingGroup> {
    by_reason(source.missing.iter())
}

/// The groups that are of this report alone, and how many fields no report of its tier has.
pub(crate) fn without_those_of_the_tier(source: &Source) -> (Vec<MissingGroup>, usize) {
    let (of_tier, own): (Vec<&Missing>, Vec<_>) =
        source.missing.iter().partition(|missing| missing.is_of_tier());
    let is_field = |missing: &&&Missing| !missing.field.starts_with("tier ");
    (by_reason(own.into_iter()), of_tier.iter().filter(is_field).count())
}

/// The groups, in the order of their first fields.
pub(crate) fn by_reason<'a>(missing: impl Iterator<Item = &'a Missing>) -> Vec<MissingGroup> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for Missing { field, why } in missing {
        match groups.iter_mut().find(|(known, _)| known == why) {
            Some((_, fields)) => fields.push(field),
            None => groups.push((why, vec![field])),
        }
    }
    let group = |(why, fields): &(&str, Vec<&str>)| MissingGroup {
        fields: safe(&fields.join(", ")),
        why: safe(why),
    };
    groups.iter().map(group).collect()
}
