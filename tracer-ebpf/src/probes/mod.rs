//! One file per stage of an invocation, in the order in which the kernel gets there.

mod after;
mod alone;
mod candidate;
mod cgroup_made;
mod choice;
mod context;
mod growth;
mod invocation;
mod memcg_call;
mod places;
mod stat;
mod victim;
mod wait;
