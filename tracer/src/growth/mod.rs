//! What grew before memory ran out, as the growth recorder has it (`watch --growth`).
//!
//! `page_counter_try_charge` is the kernel's own sampler: it is called for every 64 pages that are
//! charged to a memcg, and for every huge page. [`Recorder`] reads what the probe has kept when the
//! OOM killer has chosen, and says which frames want names; the rest is pure: `select` takes what belongs to a memcg, `kind` names
//! the shape of its curve, `teeth` finds its peaks and low points.

mod peaks;
mod recorder;
mod select;
mod shape;

pub(crate) use self::{
    peaks::{Tooth, moved, teeth},
    recorder::{Charges, GrowingProcess, Read, Recorder},
    shape::kind,
};
