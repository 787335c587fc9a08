//! The table of tasks: its header names the columns, which differ between kernels.

use super::{
    lines::{adj, comm_of, number32, pid},
    record::digits,
};

/// Rows that are kept; more are only counted. A row takes about 150 bytes.
const MAX_ROWS: usize = 8192;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    columns: Vec<String>,
    pub(crate) rows: Vec<TaskRow>,
    pub(crate) count: u64,
    /// A row could not be read.
    pub(crate) is_damaged: bool,
}

/// One task. Sizes are in pages, unless the name says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskRow {
    /// The thread that has the memory.
    pub(crate) tid: i32,
    pub(crate) tgid: i32,
    pub(crate) uid: u32,
    pub(crate) total_vm: u64,
    pub(crate) rss: u64,
    /// anon, file, shmem: since 6.8.
    pub(crate) rss_parts: Option<[u64; 3]>,
    pub(crate) pgtables_bytes: u64,
    pub(crate) swapents: u64,
    pub(crate) oom_score_adj: i32,
    pub(crate) comm: String,
}

impl Table {
    /// `[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name`
    pub(crate) fn header(line: &str) -> Option<Self> {
        let (pid, others) = line.strip_prefix('[')?.split_once(']')?;
        let columns: Vec<String> = others.split_whitespace().map(str::to_owned).collect();
        let known = ["uid", "tgid", "total_vm", "rss", "pgtables_bytes", "swapents"];
        let is_whole = known.iter().all(|name| columns.iter().any(|column| column == name))
            && columns.last().is_some_and(|last| last == "name");
        (pid.trim() == "pid" && is_whole && columns.len() < 32)
            .then(|| Self { columns, ..Self::default() })
    }

    /// Parses a line; false if it is not a row.
    pub(crate) fn row(&mut self, line: &str) -> bool {
        let Some((tid, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
            return false;
        };
        let Some(tid) = pid(tid.trim()) else {
            return false;
        };
        self.count += 1;
        match self.read(tid, rest) {
            Some(row) if self.rows.len() < MAX_ROWS => self.rows.push(row),
            Some(_) => {}
            None => self.is_damaged = true,
        }
        true
    }

    fn read(&self, tid: i32, mut rest: &str) -> Option<TaskRow> {
        let mut row = TaskRow { tid, ..TaskRow::default() };
        let mut parts = [None; 3];
        for column in &self.columns {
            if column == "name" {
                row.comm = comm_of(rest)?;
                break;
            }
            let (value, behind) = rest.trim_start_matches(' ').split_once(' ')?;
            rest = behind;
            match column.as_str() {
                "uid" => row.uid = number32(value)?,
                "tgid" => row.tgid = pid(value)?,
                "total_vm" => row.total_vm = digits(value)?,
                "rss" => row.rss = digits(value)?,
                "rss_anon" => parts[0] = Some(digits(value)?),
                "rss_file" => parts[1] = Some(digits(value)?),
                "rss_shmem" => parts[2] = Some(digits(value)?),
                "pgtables_bytes" => row.pgtables_bytes = digits(value)?,
                "swapents" => row.swapents = digits(value)?,
                "oom_score_adj" => row.oom_score_adj = adj(value)?,
                _ => {}
            }
        }
        if let [Some(anon), Some(file), Some(shmem)] = parts {
            row.rss_parts = Some([anon, file, shmem]);
        }
        Some(row)
    }

    /// Appends a line to the last name, which a newline broke; false if it does not fit.
    pub(crate) fn continue_name(&mut self, line: &str) -> bool {
        let Some(last) = self.rows.last_mut() else {
            return false;
        };
        let longer = comm_of(&format!("{}\n{line}", last.comm));
        let fits = longer.is_some();
        last.comm = longer.unwrap_or_default();
        fits
    }

    /// The row of a thread.
    pub(crate) fn find(&self, tid: i32) -> Option<&TaskRow> {
        self.rows.iter().find(|row| row.tid == tid)
    }

    /// The row of a process.
    pub(crate) fn process(&self, tgid: i32) -> Option<&TaskRow> {
        self.rows.iter().find(|row| row.tgid == tgid)
    }
}
