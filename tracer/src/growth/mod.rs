//! The growth before memory ran out, from the growth recorder (`watch --growth`).
//!
//! The kernel calls `page_counter_try_charge` for every 64 pages that are charged to a memcg, and
//! for every huge page. A probe there keeps the usage and the stacks in maps. [`Recorder`] reads
//! them after the OOM killer has chosen a victim, and lists the frames that need names. The rest is
//! pure: `curve` and `charges` pick the data of one memcg, `shape` classifies its curve, and
//! `peaks` finds the peaks and troughs.

mod charges;
mod curve;
mod peaks;
mod recorder;
mod shape;

pub(crate) use self::{
    peaks::{Cycle, cycles, hysteresis},
    recorder::{Charges, ProcessFrames, Read, Recorder},
    shape::{GrowthShape, shape},
};
