//! What is known of a task besides what the kernel says at the event: the container, the pod and
//! the unit that its cgroup stands for, and their names; its user; what /proc still has.
//!
//! [`worker`] looks things up on a thread of its own, [`stacks`] names of functions on another: the
//! ring is drained meanwhile.

pub(crate) mod container;
pub(crate) mod finder;
pub(crate) mod growing;
pub(crate) mod metadata;
pub(crate) mod passwd;
pub(crate) mod privacy;
pub(crate) mod stack_finder;
pub(crate) mod stacks;
pub(crate) mod victim_proc;
pub(crate) mod worker;
