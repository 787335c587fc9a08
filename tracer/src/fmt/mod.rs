//! How sizes, lines and tables look in text. A leaf: it knows nothing of a report.

pub(crate) mod chart;
pub(crate) mod page;
pub(crate) mod sanitize;
pub(crate) mod table;
pub(crate) mod units;
pub(crate) mod width;
pub(crate) mod wrap;
