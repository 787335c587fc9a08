//! The host's memory at the moment of an OOM that no cgroup limit caused: /proc/meminfo and
//! /proc/zoneinfo.
//!
//! The parsers are our own, because they keep a dozen numbers and no text, distinguish unknown from
//! zero, and allocate nothing while there is no memory. Each file is read once at the start, so
//! that the kernel has its buffers by then, too.

mod meminfo;
mod zoneinfo;

use std::{io, ops::ControlFlow};

use crate::{host::files::Root, model::report::System};

use self::zoneinfo::Zones;
use super::file::ProcFile;

const MEMINFO: &str = "/proc/meminfo";
const ZONEINFO: &str = "/proc/zoneinfo";

#[derive(Debug)]
pub(crate) struct SystemFiles {
    meminfo: ProcFile,
    /// `None` if it is hidden.
    zoneinfo: Option<ProcFile>,
    page_size: u64,
}

impl SystemFiles {
    /// Fails if /proc/meminfo cannot be read.
    pub(crate) fn open(root: &Root, page_size: u64) -> io::Result<Self> {
        let meminfo = ProcFile::open(&root.path(MEMINFO))?;
        let zoneinfo = ProcFile::open(&root.path(ZONEINFO)).ok();
        let mut files = Self { meminfo, zoneinfo, page_size };
        files.read()?;
        Ok(files)
    }

    pub(crate) fn has_zones(&self) -> bool {
        self.zoneinfo.is_some()
    }

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
