//! The wire between the kernel half (`tracer-ebpf`, which writes it) and the userspace half
//! (`tracer`, which reads it). Both sides compile this very file.
//!
//! Plain old data only: fixed-size integers and byte arrays, no logic, no text. Kernel units
//! (pages, kernel enum values) as the kernel has them; userspace gives them names and bytes.
//! The wire is private to one build of oomwhy; the promise to other tools is the JSON report.
//!
//! A record is an [`event::EventHeader`] followed by the body its `kind` names. Records of one
//! invocation carry the same `seq`. A group of fields that may be unknown has a bit in
//! [`valid`]: where the bit is clear, the bytes mean nothing (they are not a zero).
#![no_std]

pub mod counters;
pub mod event;
pub mod growth;
pub mod offsets;
pub mod settings;
pub mod valid;
