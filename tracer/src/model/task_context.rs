//! The details of a task, put together from the parts that the probes send. Pure.

use super::{
    events::{Context, Name, Parent, Part, UserFrame},
    lru::ByteSize,
};

/// The details of one process. A part that was not sent is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskContext {
    /// Its arguments, and whether more were cut off.
    pub cmdline: Option<(Vec<Name>, bool)>,
    /// The names in its executable's path from the root down, and whether upper ones were cut off.
    pub exe: Option<(Vec<Name>, bool)>,
    /// Its ancestors, nearest first.
    pub parents: Option<Vec<Parent>>,
    /// A victim's stack in user space, innermost first.
    pub user_stack: Option<Vec<UserFrame>>,
    /// Names of the parts that could not be read.
    pub unread: Vec<&'static str>,
}

impl TaskContext {
    /// Adds a part. The first of its kind counts, because a trigger that becomes a victim is sent
    /// twice.
    pub(crate) fn note(&mut self, context: Context) {
        let truncated = context.truncated;
        match context.part {
            Part::Cmdline(arguments) => {
                self.cmdline.get_or_insert((arguments, truncated));
            }
            Part::Exe(names) => {
                self.exe.get_or_insert((names, truncated));
            }
            Part::Parents(parents) => {
                self.parents.get_or_insert(parents);
            }
            Part::UserStack(frames) => {
                self.user_stack.get_or_insert(frames);
            }
            Part::Unread(what) if !self.unread.contains(&what) => self.unread.push(what),
            Part::Unread(_) => {}
        }
    }
}

impl ByteSize for TaskContext {
    fn byte_size(&self) -> usize {
        let names = |names: &Option<(Vec<Name>, bool)>| {
            names.as_ref().map_or(0, |(names, _)| names.byte_size())
        };
        let parents = self.parents.iter().flatten().map(ByteSize::byte_size);
        let frames = self.user_stack.iter().flatten().map(ByteSize::byte_size);
        let lists = parents.chain(frames).sum::<usize>();
        size_of::<Self>() + names(&self.cmdline) + names(&self.exe) + lists
    }
}
