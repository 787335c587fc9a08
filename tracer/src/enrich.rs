//! What is known of a task besides what the kernel says at the event: the container, the pod and
//! the unit that its cgroup stands for, and their names; its user; what /proc still has.
//!
//! [`worker`] looks things up on a thread of its own, [`stacks`] names of functions on another: the
//! ring is drained meanwhile.

pub mod bounded;
pub mod container;
pub mod finder;
pub mod growing;
pub mod metadata;
pub mod passwd;
pub mod privacy;
pub mod process;
pub mod stack_finder;
pub mod stacks;
pub mod worker;
