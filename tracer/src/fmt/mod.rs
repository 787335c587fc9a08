//! How sizes, lines and tables look in text. It depends on no other module and knows no report.

pub(crate) mod chart;
pub(crate) mod errors;
pub(crate) mod lines;
pub(crate) mod page;
pub(crate) mod sanitize;
mod stderr;
pub(crate) mod table;
pub(crate) mod terminal_json;
#[cfg(test)]
pub(crate) mod timing;
pub(crate) mod units;
pub(crate) mod width;
pub(crate) mod wrap;
