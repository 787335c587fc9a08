//! The five questions, and which of them the report of a kill on this host answers.

use serde::Serialize;

use super::groups::FieldGroup;

#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys of the JSON")]
pub(crate) struct Question {
    pub question: char,
    pub asks: &'static str,
    /// The parts of the answer that a report contains.
    #[serde(rename = "tells")]
    pub available: Vec<&'static str>,
    /// The parts that it does not contain on this host: whole groups, and single fields of the
    /// others.
    #[serde(rename = "does_not_tell")]
    pub missing: Vec<String>,
}

impl Question {
    /// Whether a report answers the question: yes, no or partly.
    pub(super) fn verdict(&self) -> &'static str {
        match (self.available.as_slice(), self.missing.as_slice()) {
            (_, []) => "yes",
            ([], _) => "no",
            _ => "partly",
        }
    }
}

const QUESTIONS: [(char, &str); 5] = [
    ('W', "Who was killed, and by whose allocation?"),
    ('L', "Whose limit was hit?"),
    ('Y', "Why that process?"),
    ('G', "What used the memory, and when was it released?"),
    ('C', "What should be changed?"),
];

pub(super) fn all(groups: &[FieldGroup]) -> Vec<Question> {
    QUESTIONS.iter().map(|&(question, asks)| answer(question, asks, groups)).collect()
}

fn answer(question: char, asks: &'static str, groups: &[FieldGroup]) -> Question {
    let (available, lost): (Vec<&FieldGroup>, Vec<&FieldGroup>) = groups
        .iter()
        .filter(|group| group.question == question)
        .partition(|group| group.tier.is_some());
    let fields =
        available.iter().flat_map(|group| &group.missing).map(|missing| missing.field.clone());
    let mut question = Question {
        question,
        asks,
        available: available.iter().map(|group| group.about).collect(),
        missing: lost.iter().map(|group| group.about.to_owned()).chain(fields).collect(),
    };
    if question.question == 'C' {
        conclude(&mut question, groups);
    }
    question
}

/// The advice follows from the limit and from the candidates.
fn conclude(question: &mut Question, groups: &[FieldGroup]) {
    let known = |name: &str| groups.iter().any(|group| group.name == name && group.tier.is_some());
    for (name, about) in [
        ("limit", "the limit to raise, and by how much"),
        ("candidates", "the oom_score_adj that would have spared the victim"),
    ] {
        if known(name) {
            question.available.push(about);
        } else {
            question.missing.push(about.to_owned());
        }
    }
}
