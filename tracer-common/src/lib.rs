//! The wire between the kernel half (`tracer-ebpf`, which writes it) and the userspace half
//! (`tracer`, which reads it). Both halves compile these very files.
//!
//! Plain old data only: fixed-size integers and byte arrays, no logic, no text. Numbers stay in
//! kernel units (pages, kernel enum values); userspace converts them to names and bytes.
//!
//! A record is an [`event::EventHeader`] followed by the body that its `kind` names. Records of one
//! invocation carry the same `seq`. Each group of fields that may be unknown has a bit in
//! [`valid`]. If the bit is clear, the bytes mean nothing: they are not a zero.
//!
//! # The wire is persistent
//!
//! Recordings and pinned maps outlive the build that wrote them, so both carry [`WIRE_VERSION`].
//! A newer build reads every version back to [`OLDEST_WIRE_VERSION`]. Changes follow these rules:
//!
//! - A new field is appended to the struct that ends a record, or to `CandidateEntry` or
//!   `LevelEntry`, whose size follows from the length of the record. The reader fills the fields
//!   that an older record does not have with zeros. A new validity bit shows whether the field was
//!   written.
//! - `InvocationEvent`, `ParentEntry`, `UserFrame` and the heads of lists (`...Head`) keep their
//!   size, because other bytes follow them. A new field uses a `reserved` word or a new kind.
//! - Bits and numbers that were ever written keep their meaning.
//! - A change that breaks one of these rules raises [`WIRE_VERSION`], and the reader converts.
#![no_std]

/// Version of the records, counters and map values. Recordings have it in their first line, pins in
/// the name of their folder.
pub const WIRE_VERSION: u32 = 4;
/// Oldest version that this build reads. The records of versions 2 and 3 have the same layout; with
/// version 3, recordings and pins began to use one number. With version 4, kills and hints have
/// rings of their own, and the counters of lost records have another layout. The end of an
/// invocation has facts in place of the return value of `out_of_memory`.
pub const OLDEST_WIRE_VERSION: u32 = 2;

pub mod counters;
pub mod event;
pub mod growth;
pub mod maps;
pub mod offsets;
pub mod settings;
pub mod valid;
