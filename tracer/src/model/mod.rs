//! The data that crosses between the stages: kernel events, facts about the host, and the report.
//! It depends on no other module.

pub(crate) mod account;
pub(crate) mod events;
pub(crate) mod facts;
pub(crate) mod fnv;
pub(crate) mod gfp;
pub(crate) mod handover;
pub(crate) mod hook;
pub(crate) mod host;
pub(crate) mod lru;
pub(crate) mod memcg_stat;
pub(crate) mod names;
pub(crate) mod reap_and_exit;
pub(crate) mod record_id;
pub(crate) mod recorded_growth;
pub(crate) mod report;
pub(crate) mod shed;
pub(crate) mod task_context;
pub(crate) mod tenant;
pub(crate) mod victims;
pub(crate) mod wire;
