//! How sizes, names and lines look in text. A leaf: it knows nothing of a report.

pub(crate) mod errors;
pub(crate) mod layout;
pub(crate) mod sanitize;
pub(crate) mod table;
pub(crate) mod units;
