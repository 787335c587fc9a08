//! The outputs for people and other tools: short text, JSON, the long answer and flame graphs. An
//! output shows the data of a record. It looks nothing up and decides nothing. `view` makes the
//! parts of a report ready to be shown, once for all forms.

pub(crate) mod explain;
pub(crate) mod flame;
mod hang_watch;
pub(crate) mod json;
pub(crate) mod queued;
pub(crate) mod store;
pub(crate) mod text;
pub(crate) mod view;

#[cfg(test)]
pub(crate) mod fixtures;
