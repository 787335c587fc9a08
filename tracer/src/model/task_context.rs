//! Who a task is, put together from its parts. Pure.

use super::events::{Context, Name, Parent, Part, UserFrame};

/// What is known of one process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskContext {
    /// Its arguments, and whether there are more.
    pub cmdline: Option<(Vec<Name>, bool)>,
    /// The names of its executable's path from the root down, and whether there are more above.
    pub exe: Option<(Vec<Name>, bool)>,
    /// Its ancestors, nearest first.
    pub parents: Option<Vec<Parent>>,
    /// A victim's stack in user space, innermost first.
    pub user_stack: Option<Vec<UserFrame>>,
    /// What could not be read.
    pub unread: Vec<&'static str>,
}

impl TaskContext {
    /// Adds a part. The first one counts: a trigger that becomes a victim comes twice.
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
