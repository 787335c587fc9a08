//! One file per stage of an invocation, in the order in which the kernel gets there.

mod invocation;
mod candidate;
mod choice;
mod victim;
mod memcg_call;
mod cgroup_made;
