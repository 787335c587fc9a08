//! Who a task is, read by the probes in its own context, part by part.

use serde::Serialize;

use super::{Name, UserFrame};

/// One part of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Context {
    /// Process.
    pub tgid: i32,
    /// Thread.
    pub tid: i32,
    /// There is more of it than was recorded.
    pub truncated: bool,
    /// The part.
    #[serde(flatten)]
    pub part: Part,
}

/// The parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Arguments.
    Cmdline(Vec<Name>),
    /// Names of the executable's path, from the root of its mount namespace down.
    Exe(Vec<Name>),
    /// Ancestors, nearest first.
    Parents(Vec<Parent>),
    /// Frames, innermost first.
    UserStack(Vec<UserFrame>),
    /// It was tried to read this part.
    Unread(&'static str),
}

/// An ancestor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parent {
    /// Process.
    pub tgid: i32,
    /// Its name.
    pub comm: Name,
}
