//! What a kill on this host would tell, and what not, by the five questions.

use serde::Serialize;

use super::groups::Group;

/// One of the five questions.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Question {
    /// Its letter.
    pub question: char,
    /// In words.
    pub asks: &'static str,
    /// What a report answers.
    pub tells: Vec<&'static str>,
    /// What it would and does not.
    pub does_not_tell: Vec<String>,
}

const QUESTIONS: [(char, &str); 5] = [
    ('W', "who was killed, by whose allocation?"),
    ('L', "whose limit was hit?"),
    ('Y', "why that one?"),
    ('G', "what was the memory, and when did it come back?"),
    ('C', "what to change?"),
];

/// All five.
pub(super) fn all(groups: &[Group]) -> Vec<Question> {
    QUESTIONS.iter().map(|&(question, asks)| answer(question, asks, groups)).collect()
}

fn answer(question: char, asks: &'static str, groups: &[Group]) -> Question {
    let mine = || groups.iter().filter(move |group| group.question == question);
    let tells = mine().filter(|group| group.tier.is_some()).map(|group| group.about);
    let lost = mine().filter(|group| group.tier.is_none()).map(|group| group.about.to_owned());
    let partly = mine().filter(|group| group.tier.is_some());
    let fields = partly.flat_map(|group| &group.missing).map(|missing| missing.field.clone());
    let mut question = Question {
        question,
        asks,
        tells: tells.collect(),
        does_not_tell: lost.chain(fields).collect(),
    };
    if question.question == 'C' {
        conclude(&mut question, groups);
    }
    question
}

/// What to change follows from whose limit it was and who was weighed.
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
