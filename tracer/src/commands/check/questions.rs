//! The five questions, and which of them the report of a kill on this host answers.

use serde::Serialize;

use super::groups::Group;

#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys of the JSON")]
pub(crate) struct Question {
    pub question: char,
    pub asks: &'static str,
    /// What a report answers.
    pub tells: Vec<&'static str>,
    /// What it does not answer on this host.
    pub does_not_tell: Vec<String>,
}

const QUESTIONS: [(char, &str); 5] = [
    ('W', "who was killed, by whose allocation?"),
    ('L', "whose limit was hit?"),
    ('Y', "why that one?"),
    ('G', "what was the memory, and when did it come back?"),
    ('C', "what to change?"),
];

pub(super) fn all(groups: &[Group]) -> Vec<Question> {
    QUESTIONS.iter().map(|&(question, asks)| answer(question, asks, groups)).collect()
}

fn answer(question: char, asks: &'static str, groups: &[Group]) -> Question {
    let (available, lost): (Vec<&Group>, Vec<&Group>) = groups
        .iter()
        .filter(|group| group.question == question)
        .partition(|group| group.tier.is_some());
    let fields =
        available.iter().flat_map(|group| &group.missing).map(|missing| missing.field.clone());
    let mut question = Question {
        question,
        asks,
        tells: available.iter().map(|group| group.about).collect(),
        does_not_tell: lost.iter().map(|group| group.about.to_owned()).chain(fields).collect(),
    };
    if question.question == 'C' {
        conclude(&mut question, groups);
    }
    question
}

/// What to change follows from the limit and from the candidates.
fn conclude(question: &mut Question, groups: &[Group]) {
    let known = |name: &str| groups.iter().any(|group| group.name == name && group.tier.is_some());
    for (name, about) in [
        ("limit", "which limit to raise, and by how much"),
        ("candidates", "which oom_score_adj would have spared it"),
    ] {
        if known(name) {
            question.tells.push(about);
        } else {
            question.does_not_tell.push(about.to_owned());
        }
    }
}
