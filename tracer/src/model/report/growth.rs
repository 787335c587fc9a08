//! The growth before an invocation.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Frame;

/// The growth of the memory that ran out, before the invocation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// When the recording starts, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// The growth of the usage, bytes per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_s: Option<GrowthRate>,
    /// The shape of the curve: steady, burst, plateau_then_jump, sawtooth or unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The usage over time, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<GrowthPoint>,
    /// The bytes charged per process and stack, largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<GrowthStack>,
    /// The share of the bytes whose user stack was unwound, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwound_share: Option<f64>,
}

/// The growth of the usage, bytes per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GrowthRate {
    /// Growth in the last minute, bytes per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_minute: Option<i64>,
    /// Growth over the whole curve, bytes per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<i64>,
}

/// A point of the usage curve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrowthPoint {
    /// The time on CLOCK_BOOTTIME, ns.
    pub t_ns: u64,
    /// The usage at that time.
    pub usage_bytes: u64,
    /// The limit at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
}

/// The bytes that one process charged from one stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrowthStack {
    /// Bytes charged from this stack.
    pub bytes: u64,
    /// Process id (tgid); absent if the memory was charged to another cgroup than the task's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// The name of the task; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The stack in user space, innermost frame first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_stack: Option<Vec<Frame>>,
    /// The stack in the kernel, innermost frame first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack: Option<Vec<Frame>>,
}

impl Growth {
    /// The stacks, largest first. Stacks of one process through the same functions are merged, even
    /// if their offsets or their kernel stacks differ.
    pub fn by_functions(&self) -> Vec<GrowthStack> {
        let mut merged: Vec<GrowthStack> = Vec::new();
        let mut stacks: Vec<&GrowthStack> = self.stacks.iter().collect();
        stacks.sort_by_key(|stack| std::cmp::Reverse(stack.bytes));
        for stack in stacks {
            if let Some(known) = merged.iter_mut().find(|known| known.has_same_functions(stack)) {
                known.bytes = known.bytes.saturating_add(stack.bytes);
            } else {
                merged.push(stack.clone());
            }
        }
        merged.sort_by_key(|stack| std::cmp::Reverse(stack.bytes));
        merged
    }
}

impl GrowthStack {
    /// The frames in user space, or in the kernel if there are none; innermost first.
    pub fn frames(&self) -> &[Frame] {
        let user = self.user_stack.as_deref().filter(|frames| !frames.is_empty());
        user.or(self.kernel_stack.as_deref()).unwrap_or_default()
    }

    fn has_same_functions(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Frame, &Frame)| {
            if one.symbol.is_some() { one.symbol == other.symbol } else { one == other }
        };
        let (frames, others) = (self.frames(), other.frames());
        (self.pid, &self.comm) == (other.pid, &other.comm)
            && frames.len() == others.len()
            && frames.iter().zip(others).all(is_same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_of_a_process_through_same_functions_are_merged() {
        let frame = |symbol: Option<&str>, offset| Frame {
            symbol: symbol.map(str::to_owned),
            offset: Some(offset),
            ..Frame::default()
        };
        let stack = |pid, bytes, frames: &[Frame]| GrowthStack {
            bytes,
            pid: Some(pid),
            comm: Some("app".to_owned()),
            user_stack: Some(frames.to_vec()),
            kernel_stack: None,
        };
        let (parse, main) = (|at| frame(Some("parse"), at), || frame(Some("main"), 1));
        let growth = Growth {
            stacks: vec![
                stack(1, 30, &[parse(1), main()]),
                stack(2, 25, &[parse(1), main()]),
                stack(1, 20, &[main()]),
                stack(1, 15, &[parse(2), main()]),
                stack(1, 8, &[frame(None, 1)]),
                stack(1, 7, &[frame(None, 2)]),
            ],
            ..Growth::default()
        };
        let merged = growth.by_functions();
        let seen: Vec<_> = merged.iter().map(|stack| (stack.pid, stack.bytes)).collect();
        assert_eq!(seen, [(Some(1), 45), (Some(2), 25), (Some(1), 20), (Some(1), 8), (Some(1), 7)]);
        assert_eq!(merged[0].frames(), [parse(1), main()]);
    }

    #[test]
    fn stack_without_user_frames_uses_kernel_frames() {
        let kernel = vec![Frame { symbol: Some("shmem_fault".to_owned()), ..Frame::default() }];
        let stack = |user_stack, bytes| GrowthStack {
            bytes,
            pid: None,
            comm: None,
            user_stack,
            kernel_stack: Some(kernel.clone()),
        };
        let growth = Growth {
            stacks: vec![stack(None, 2), stack(Some(Vec::new()), 1)],
            ..Growth::default()
        };
        let merged = growth.by_functions();
        assert_eq!((merged.len(), merged[0].bytes), (1, 3));
        assert_eq!(merged[0].frames(), kernel);
    }
}
