//! What is known of a task besides what the kernel says at the event: the container, the pod and
//! the unit that its cgroup stands for, and their names.

pub mod container;
