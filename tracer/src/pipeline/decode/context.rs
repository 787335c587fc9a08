//! Decodes the details of a task.

use oomwhy_common::{
    event::{ContextHead, ParentEntry, UserFrame as WireFrame, context},
    valid,
};

use super::{Malformed, head, list, name, names_from_leaf};
use crate::model::events::{Context, Name, Parent, Part, user_frame};

pub(super) fn context(bytes: &[u8], has: impl Fn(u64) -> bool) -> Result<Context, Malformed> {
    let (event, rest) = head::<ContextHead>(bytes);
    let body = rest.get(..event.len as usize).ok_or(Malformed::Count { announced: event.len })?;
    let mut truncated = event.truncated != 0;
    let part = match event.part {
        part if !has(valid::context::READ) => Part::Unread(word(part)),
        context::CMDLINE => Part::Cmdline(arguments(body)),
        context::EXE => {
            let (names, cut_off) = names_from_leaf(body);
            truncated |= cut_off;
            Part::Exe(names)
        }
        context::PARENTS => Part::Parents(entries::<ParentEntry>(body)?.map(parent).collect()),
        context::USER_STACK => Part::UserStack(
            entries(body)?.map_while(|frame: WireFrame| user_frame(&frame)).collect(),
        ),
        part => Part::Unread(word(part)),
    };
    Ok(Context { tgid: event.tgid, tid: event.tid, truncated, part })
}

fn word(part: u32) -> &'static str {
    match part {
        context::CMDLINE => "cmdline",
        context::EXE => "exe",
        context::PARENTS => "parents",
        context::USER_STACK => "user_stack",
        _ => "unknown",
    }
}

/// Each argument ends with a NUL. The last one has none if it is cut off or was overwritten.
fn arguments(bytes: &[u8]) -> Vec<Name> {
    let arguments = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    arguments.split(|&byte| byte == 0).map(|argument| Name(argument.to_vec())).collect()
}

/// Reads as many structs as `body` has bytes for.
fn entries<T>(body: &[u8]) -> Result<impl Iterator<Item = T>, Malformed>
where
    T: zerocopy::FromBytes + zerocopy::IntoBytes,
{
    let count = u32::try_from(body.len() / size_of::<T>()).unwrap_or_default();
    Ok(list::<T>(body, count)?.into_iter())
}

fn parent(entry: ParentEntry) -> Parent {
    Parent { tgid: entry.tgid, comm: name(&entry.comm) }
}
