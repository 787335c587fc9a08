//! Details of a task. The probes read them in the context of the task, part by part.

use serde::Serialize;

use super::{Name, UserFrame};

/// A part of the details of one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Context {
    pub tgid: i32,
    pub tid: i32,
    /// A part of it was cut off.
    pub truncated: bool,
    #[serde(flatten)]
    pub part: Part,
}

/// The parts of the details of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Command line arguments.
    Cmdline(Vec<Name>),
    /// Names in the executable's path, from the root of its mount namespace down.
    Exe(Vec<Name>),
    /// Ancestors, nearest first.
    Parents(Vec<Parent>),
    /// Frames, innermost first.
    UserStack(Vec<UserFrame>),
    /// The part with this name could not be read.
    Unread(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parent {
    pub tgid: i32,
    pub comm: Name,
}
