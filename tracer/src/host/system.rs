//! The host's memory at the moment of an OOM that was nobody's limit: /proc/meminfo and
//! /proc/zoneinfo.
//!
//! The parsers are ours: they keep a dozen numbers and no text, tell unknown from zero, and ask for
//! no memory while there is none. What is opened is read once at the start, so that the kernel has
//! its buffers by then, too.

mod meminfo;
mod zoneinfo;

use std::{io, ops::ControlFlow};

use crate::{
    host::{files::Root, proc_file::ProcFile},
    model::report::System,
};

use self::zoneinfo::Zones;

const MEMINFO: &str = "/proc/meminfo";
const ZONEINFO: &str = "/proc/zoneinfo";

/// The files, ready to be read.
#[derive(Debug)]
pub(crate) struct SystemFiles {
    meminfo: ProcFile,
    /// `None` where it is hidden.
    zoneinfo: Option<ProcFile>,
    page_size: u64,
}

impl SystemFiles {
    /// Opens them; an error where not even /proc/meminfo can be read.
    pub(crate) fn open(root: &Root, page_size: u64) -> io::Result<Self> {
        let meminfo = ProcFile::open(&root.path(MEMINFO))?;
        let zoneinfo = ProcFile::open(&root.path(ZONEINFO)).ok();
        let mut files = Self { meminfo, zoneinfo, page_size };
        files.read()?;
        Ok(files)
    }

    /// Whether the zones can be read.
    pub(crate) fn has_zones(&self) -> bool {
        self.zoneinfo.is_some()
    }

    /// What they say now.
    pub(crate) fn read(&mut self) -> io::Result<System> {
        let mut system = System::default();
        let mut zones = Zones::new(self.page_size);
        // The zones first: they change faster.
        if let Some(zoneinfo) = &mut self.zoneinfo {
            zoneinfo.lines(|line| {
                zones.line(line);
                ControlFlow::Continue(())
            })?;
            system.nodes = Some(zones.finish());
        }
        self.meminfo.lines(|line| {
            meminfo::line(&mut system, line);
            ControlFlow::Continue(())
        })?;
        Ok(system)
    }
}

#[cfg(test)]
mod tests;
